"""Data sets that are read or made: PASCAL VOC, the drawn set, and downloads."""
