"""Datasets: what is on disk, read as one record per study, whatever the layout."""
