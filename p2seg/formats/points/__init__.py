"""Clicks in the formats of other tools, read and written: LabelMe, CVAT, Label Studio and more."""
