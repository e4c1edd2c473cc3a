"""The network of Reg2RG and its weights: parts, the model that puts them together, and how it is kept on disk."""
