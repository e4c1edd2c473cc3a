"""DICOM in: files to series, the chest CT among them, its slices to one volume."""
