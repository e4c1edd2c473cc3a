"""A synthetic chest CT world in which everything drawn is known: anatomy, lesions, masks, reports, labels.

No patient data and no outside model is in it. It is a test bed and the training data of the shipped model; it is
schematic, and nothing learned from it may be used on patients.
"""
