//! What the fuzz targets do, and what they start from.

pub mod readers;
pub mod seeds;
