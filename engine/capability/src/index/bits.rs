//! Sets of numbers: as words of bits, and as lists where they are few.

/// Numbers as bits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    pub(super) fn insert(&mut self, number: u32) {
        let word = number as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (number % 64);
    }

    pub(super) fn remove(&mut self, number: u32) {
        if let Some(word) = self.words.get_mut(number as usize / 64) {
            *word &= !(1 << (number % 64));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Adds the numbers of the other.
    pub(super) fn add(&mut self, other: &Self) {
        if other.words.len() > self.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
    }

    /// Keeps the numbers that the other has too.
    pub(super) fn keep(&mut self, other: &Self) {
        self.words.truncate(other.words.len());
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= other);
    }

    /// Removes the numbers of the other.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= !other);
    }

    /// The numbers, rising.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.words.iter().enumerate().flat_map(|(at, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                if left == 0 {
                    return None;
                }
                let bit = left.trailing_zeros();
                left &= left - 1;
                Some(at as u32 * 64 + bit)
            })
        })
    }
}

/// Numbers that are mostly few: a rising list, or bits once the list would take more memory.
#[derive(Debug, Clone)]
pub(super) enum Posting {
    Few(Vec<u32>),
    Many(Bits),
}

impl Default for Posting {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Posting {
    pub(super) fn insert(&mut self, number: u32) {
        match self {
            Self::Many(bits) => bits.insert(number),
            Self::Few(list) => {
                if let Err(at) = list.binary_search(&number) {
                    list.insert(at, number);
                }
                let largest = list.last().copied().unwrap_or(0);
                // 32 bits a number in the list, one bit for each number up to the largest in bits.
                if list.len() > 64 && list.len() > largest as usize / 32 {
                    let mut bits = Bits::default();
                    list.iter().for_each(|&number| bits.insert(number));
                    *self = Self::Many(bits);
                }
            }
        }
    }

    /// Returns whether nothing is left.
    pub(super) fn remove(&mut self, number: u32) -> bool {
        match self {
            Self::Many(bits) => bits.remove(number),
            Self::Few(list) => {
                if let Ok(at) = list.binary_search(&number) {
                    list.remove(at);
                }
            }
        }
        self.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Many(bits) => bits.is_empty(),
            Self::Few(list) => list.is_empty(),
        }
    }

    pub(super) fn add_to(&self, found: &mut Bits) {
        match self {
            Self::Many(bits) => found.add(bits),
            Self::Few(list) => list.iter().for_each(|&number| found.insert(number)),
        }
    }
}
