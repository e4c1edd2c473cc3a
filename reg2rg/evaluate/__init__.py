"""Evaluation of generated reports."""
