"""Training in two stages: the encoders on crops (vision), then the language model on reports (report)."""
