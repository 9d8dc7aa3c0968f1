//! The tokens of a prompt, and how many of them the texts of a batch share.

use std::sync::{Arc, Mutex, PoisonError};

use akidb_backend::TokenBatch;

/// Prompts whose tokens are remembered: a call's own, and those of a few others in turn.
const REMEMBERED: usize = 4;

/// Longer prompts, in bytes, are not looked at: what is kept stays small.
const MAX_BYTES: usize = 16 << 10;

/// The tokens of the last few prompts.
#[derive(Debug, Default)]
pub(super) struct Prompts(Mutex<Vec<(String, Arc<[u32]>)>>);

impl Prompts {
    /// The prompt's tokens, by `encode` where they are not remembered; none where it is too long.
    pub(super) fn get<E>(
        &self,
        prompt: &str,
        encode: impl FnOnce(&str) -> Result<Vec<u32>, E>,
    ) -> Result<Arc<[u32]>, E> {
        if prompt.is_empty() || prompt.len() > MAX_BYTES {
            return Ok(Arc::default());
        }
        if let Some((_, ids)) = self.lock().iter().find(|(known, _)| known == prompt) {
            return Ok(Arc::clone(ids));
        }
        let ids: Arc<[u32]> = encode(prompt)?.into();
        let mut known = self.lock();
        if known.len() == REMEMBERED {
            known.remove(0);
        }
        known.push((prompt.to_owned(), Arc::clone(&ids)));
        Ok(ids)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(String, Arc<[u32]>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Number of tokens that all texts start with because of their prompt: as far as each agrees with
/// the prompt's own tokens (its last ones may have merged with the text), and shorter than each.
pub(crate) fn shared_prefix(prompt: &[u32], batch: &TokenBatch) -> usize {
    let common = |text: &[u32]| {
        let same = prompt.iter().zip(text).take_while(|(a, b)| a == b).count();
        same.min(text.len().saturating_sub(1))
    };
    batch.iter().map(common).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(texts: &[&[u32]]) -> TokenBatch {
        texts.iter().collect()
    }

    #[test]
    fn the_shortest_agreement_counts() {
        let shared = |prompt: &[u32], texts: &[&[u32]]| {
            let batch = batch(texts);
            let tokens = shared_prefix(prompt, &batch);
            assert!(batch.with_shared_prefix(tokens).is_ok());
            tokens
        };
        assert_eq!(shared(&[7, 8, 9], &[&[7, 8, 9, 1], &[7, 8, 9, 2, 1]]), 3);
        // The prompt's last token merged with the start of the second text.
        assert_eq!(shared(&[7, 8, 9], &[&[7, 8, 9, 1], &[7, 8, 95, 1]]), 2);
        // The second text was cut off within the prompt.
        assert_eq!(shared(&[7, 8, 9], &[&[7, 8, 9, 1], &[7, 8]]), 1);
        assert_eq!(shared(&[7, 8, 9], &[&[7, 8, 9]]), 2);
        assert_eq!(shared(&[7], &[&[5, 7], &[7, 5]]), 0);
        // Texts that agree by themselves share no prompt.
        assert_eq!(shared(&[], &[&[7, 8], &[7, 8, 9]]), 0);
        assert_eq!(shared(&[7], &[]), 0);
    }

    #[test]
    fn the_last_few_prompts_are_remembered() {
        let prompts = Prompts::default();
        let encoded = |prompt: &str| {
            let mut called = false;
            prompts
                .get(prompt, |_| {
                    called = true;
                    Ok::<_, ()>(vec![1])
                })
                .unwrap();
            called
        };
        assert!(encoded("a") && !encoded("a"));
        assert!(encoded("b") && encoded("c") && encoded("d") && !encoded("a"));
        assert!(encoded("e") && encoded("a") && !encoded("e"));
        assert!(!encoded(""));
        assert!(!encoded(&"x".repeat(MAX_BYTES + 1)));
        assert_eq!(prompts.lock().len(), REMEMBERED);
        assert!(prompts.get("f", |_| Err("no")).is_err());
        assert!(encoded("f"));
    }
}
