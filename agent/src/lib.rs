//! The parts of `ringfence` that benchmarks and fuzz targets use too.

pub mod pods;
pub mod resolver;
