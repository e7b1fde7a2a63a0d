"""Frames of several videos that show the same moment, and how sharp, steady and right they are."""
