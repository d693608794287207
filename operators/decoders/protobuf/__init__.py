"""The wire format of protobuf, read in compiled loops and by reduced descriptors."""
