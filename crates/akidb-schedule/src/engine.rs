//! What is asked for, and what computes it.

use std::error::Error;
use std::fmt::Debug;
use std::hash::Hash;

/// Computes items: a model, say, and texts of token ids.
pub trait Engine: Debug + Send + Sync + 'static {
    /// One thing to compute. Equal items have equal outputs, whatever their group: what several
    /// callers ask for at the same time is computed once.
    type Item: Clone + Debug + Eq + Hash + Send + Sync;
    /// What the items of a pass have in common.
    type Group: Clone + Debug + Eq + Hash + Send + Sync;
    /// What comes of an item. It is cloned for each who asked.
    type Output: Clone + Debug + Send + Sync;
    /// Why it doesn't.
    type Error: Error + Send + Sync;

    /// The output of each item, in order.
    ///
    /// # Errors
    /// When one of them fails, or all do: the scheduler tries again with fewer.
    fn run(
        &self,
        items: &[Self::Item],
        group: &Self::Group,
    ) -> Result<Vec<Self::Output>, Self::Error>;

    /// The size of an item. Its time grows with it, a little faster where it is large.
    fn tokens(item: &Self::Item) -> usize;

    /// What an item and its output take in the cache of results, in bytes. Called often.
    fn bytes(item: &Self::Item, output: &Self::Output) -> usize;

    /// Whether an output may be kept and given again.
    fn is_sound(output: &Self::Output) -> bool;
}
