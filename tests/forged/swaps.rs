//! Whole layers and boundaries exchanged, within a file and between files.
