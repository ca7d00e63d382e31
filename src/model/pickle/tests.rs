//! Archives and pickles.
