//! Telling what is done, without knowing to whom.

/// What work tells of itself while it lasts.
pub trait Progress: Sync {
    /// What is being done now, in place of what was said before.
    fn progress(&self, what: &str);

    /// A detail for those who ask for more.
    fn detail(&self, what: &str);
}

/// Nobody listens.
impl Progress for () {
    fn progress(&self, _: &str) {}

    fn detail(&self, _: &str) {}
}
