//! Which tokens to read in which order, so that what sequences share is read once.

use std::ops::Range;

/// A stretch is read on its own only if that spares at least so many tokens: a pass over few tokens costs nearly as much
/// as one over some more.
const WORTH_A_PASS: usize = 32;

/// Sequences that are prefixes of each other nest; deeper than this their rest is read whole.
const DEEPEST: usize = 48;

/// One step of reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read tokens of a sequence behind what is open, and keep them open.
    Open {
        /// A sequence that holds them; all that follow it share them.
        sequence: usize,
        /// Their places in it.
        tokens: Range<usize>,
    },
    /// Read the rests of sequences behind what is open, shortest first.
    Read {
        /// The sequences.
        sequences: Vec<usize>,
        /// Where their rests begin.
        from: usize,
    },
    /// Forget what was opened last.
    Close,
}

/// The steps that read every sequence once to its end, with shared beginnings read once where that is worth it.
///
/// At least one token of every sequence is read by [`Step::Read`].
pub(crate) fn plan(sequences: &[Vec<u32>], share: bool) -> Vec<Step> {
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    if share {
        order.sort_by(|&a, &b| sequences[a].cmp(&sequences[b]));
    }
    let mut plan = Plan { sequences, steps: Vec::new() };
    let unshared = if share { plan.group(&order, 0, 0) } else { order };
    plan.read(unshared, 0);
    plan.steps
}

struct Plan<'a> {
    sequences: &'a [Vec<u32>],
    steps: Vec<Step>,
}

impl Plan<'_> {
    /// Plans for neighbours in order that share their first `open` tokens, which are open. Gives those whose rest is
    /// still to be read.
    fn group(&mut self, group: &[usize], open: usize, depth: usize) -> Vec<usize> {
        let (Some(&first), Some(&last)) = (group.first(), group.last()) else { return Vec::new() };
        if group.len() == 1 || depth == DEEPEST {
            return group.to_vec();
        }
        // In order, what the first and the last share is shared by all.
        let shared = shared(&self.sequences[first], &self.sequences[last]);
        let shortest = group.iter().map(|&one| self.sequences[one].len()).min().unwrap_or(0);
        let opened = shared.min(shortest.saturating_sub(1)).max(open);
        if (opened - open) * (group.len() - 1) < WORTH_A_PASS {
            return self.parts(group, shared, open, depth);
        }
        self.steps.push(Step::Open { sequence: first, tokens: open..opened });
        let unshared = self.parts(group, shared, opened, depth);
        self.read(unshared, opened);
        self.steps.push(Step::Close);
        Vec::new()
    }

    /// Plans for every part of a group that shares more than `shared` tokens.
    fn parts(&mut self, group: &[usize], shared: usize, open: usize, depth: usize) -> Vec<usize> {
        let next = |one: &usize| self.sequences[*one].get(shared).copied();
        let parts: Vec<&[usize]> = group.chunk_by(|a, b| next(a) == next(b)).collect();
        let mut unshared = Vec::new();
        for part in parts {
            if next(&part[0]).is_none() || parts_is_all(part, group) {
                // They end here, or are equal.
                unshared.extend_from_slice(part);
            } else {
                unshared.extend(self.group(part, open, depth + 1));
            }
        }
        unshared
    }

    fn read(&mut self, mut sequences: Vec<usize>, from: usize) {
        if sequences.is_empty() {
            return;
        }
        // Neighbours of similar length pad each other least.
        sequences.sort_by_key(|&sequence| self.sequences[sequence].len());
        self.steps.push(Step::Read { sequences, from });
    }
}

fn parts_is_all(part: &[usize], group: &[usize]) -> bool {
    part.len() == group.len()
}

fn shared(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The most tokens that are open at the same time.
pub(crate) fn longest_open(steps: &[Step]) -> usize {
    let open = steps.iter().map(|step| match step {
        Step::Open { tokens, .. } => tokens.end,
        _ => 0,
    });
    open.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(stretches: &[(u32, usize)]) -> Vec<u32> {
        stretches.iter().flat_map(|&(token, count)| std::iter::repeat_n(token, count)).collect()
    }

    fn open(sequence: usize, tokens: Range<usize>) -> Step {
        Step::Open { sequence, tokens }
    }

    fn read(sequences: &[usize], from: usize) -> Step {
        Step::Read { sequences: sequences.to_vec(), from }
    }

    #[test]
    fn principles_of_a_dialogue_in_both_orders_are_nested() {
        // Few-shots 1, dialogues 2 and 3, principles 4 and 5, orders 6 and 7.
        let sequences: Vec<Vec<u32>> = [(2, 4, 6), (2, 4, 7), (2, 5, 6), (2, 5, 7), (3, 4, 6)]
            .map(|(dialogue, principle, order)| {
                row(&[(1, 100), (dialogue, 50), (principle, 40), (order, 5)])
            })
            .to_vec();
        let expected = [
            open(0, 0..100),
            open(0, 100..150),
            open(0, 150..190),
            read(&[0, 1], 190),
            Step::Close,
            open(2, 150..190),
            read(&[2, 3], 190),
            Step::Close,
            Step::Close,
            read(&[4], 100),
            Step::Close,
        ];
        assert_eq!(plan(&sequences, true), expected);
        assert_eq!(longest_open(&expected), 190);
        assert_eq!(plan(&sequences, false), [read(&[0, 1, 2, 3, 4], 0)]);
    }

    #[test]
    fn what_is_not_worth_a_pass_is_read_again() {
        let sequences = vec![row(&[(1, 8), (2, 3)]), row(&[(1, 8), (3, 2)]), row(&[(4, 9)])];
        assert_eq!(plan(&sequences, true), [read(&[2, 1, 0], 0)]);
    }

    #[test]
    fn equal_sequences_keep_their_last_token() {
        let sequences = vec![row(&[(1, 60)]); 3];
        assert_eq!(plan(&sequences, true), [open(0, 0..59), read(&[0, 1, 2], 59), Step::Close]);
        let sequences = vec![row(&[(1, 60)]), row(&[(1, 90)])];
        assert_eq!(plan(&sequences, true), [open(0, 0..59), read(&[0, 1], 59), Step::Close]);
        assert!(plan(&[], true).is_empty());
    }

    #[test]
    fn prefixes_of_each_other_do_not_nest_without_end() {
        let sequences: Vec<Vec<u32>> = (1..400).map(|length| row(&[(1, 40 * length)])).collect();
        let steps = plan(&sequences, true);
        let opens = steps.iter().filter(|step| matches!(step, Step::Open { .. })).count();
        assert!(opens <= DEEPEST, "{opens}");
    }

    proptest! {
        #[test]
        fn every_sequence_is_read_once_behind_its_own_tokens(
            sequences in prop::collection::vec(
                prop::collection::vec((0_u32..3, 1_usize..30), 1..5), 0..12),
        ) {
            let sequences: Vec<Vec<u32>> = sequences.iter().map(|each| row(each)).collect();
            let mut path: Vec<u32> = Vec::new();
            let mut opened = Vec::new();
            let mut reads = vec![0; sequences.len()];
            let mut tokens = 0;
            for step in plan(&sequences, true) {
                match step {
                    Step::Open { sequence, tokens: range } => {
                        prop_assert_eq!(range.start, path.len());
                        prop_assert!(!range.is_empty());
                        tokens += range.len();
                        path.extend(&sequences[sequence][range.clone()]);
                        opened.push(range.len());
                    }
                    Step::Close => path.truncate(path.len() - opened.pop().unwrap()),
                    Step::Read { sequences: leaves, from } => {
                        prop_assert_eq!(from, path.len());
                        for leaf in leaves {
                            reads[leaf] += 1;
                            prop_assert!(sequences[leaf].len() > from);
                            prop_assert_eq!(&sequences[leaf][..from], path.as_slice());
                            tokens += sequences[leaf].len() - from;
                        }
                    }
                }
            }
            prop_assert!(opened.is_empty());
            prop_assert!(reads.iter().all(|&reads| reads == 1));
            prop_assert!(tokens <= sequences.iter().map(Vec::len).sum());
        }
    }
}
