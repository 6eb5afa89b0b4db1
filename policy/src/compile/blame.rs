//! Finds the pattern with which the limit was crossed.
//!
//! Each probe is a compilation, and one near the limit takes as long as a compilation may. So
//! this does not halve: it guesses from how much of the limit the last two probes used where it
//! is crossed, and closes in from there.

/// Probes after which there is no more guessing: halving is sure to end.
const MAX_GUESSES: usize = 16;

/// The index of a pattern with which the patterns up to it are too complex and without which they
/// are not. All `count` together are. `used` says for a number of patterns how much of the limit
/// they use, and nothing when they are too complex.
pub(super) fn first_too_complex(count: usize, used: impl Fn(usize) -> Option<f64>) -> usize {
    let (mut fine, mut bad) = (0, count);
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut probe = 1;
    for probes in 0.. {
        if bad - fine <= 1 {
            break;
        }
        match used(probe) {
            Some(used) => {
                // Points that lie close together tell nothing about where the curve goes.
                points.pop_if(|_| probe < fine + fine / 32);
                points.push(((probe as f64).ln(), used.ln()));
                fine = probe;
            }
            None => bad = probe,
        }
        let middle = fine + (bad - fine) / 2;
        probe = match guess(&points) {
            _ if probes >= MAX_GUESSES => middle,
            // Where nothing is known to be bad, twice as many are far enough.
            Some(guess) if bad == count && guess > fine => guess.min(2 * fine),
            _ if bad == count => 2 * fine.max(1),
            Some(guess) if guess <= fine => fine + 1 + (bad - fine) / 16,
            Some(guess) if guess < bad => guess,
            // A guess that was a little too high is the better place to go on from.
            Some(guess) if guess - bad < (bad - fine) / 8 => bad - 1 - (bad - fine) / 16,
            _ => middle,
        };
        probe = probe.min(bad.saturating_sub(1)).max(fine + 1);
    }
    fine
}

/// The most patterns that may be expected to be fine: the parabola through the last three points,
/// logarithms of numbers of patterns and of what they use, where all is used.
fn guess(points: &[(f64, f64)]) -> Option<usize> {
    let last = points.last_chunk::<3>()?;
    let terms = (0..3).map(|i| {
        let others = (0..3).filter(|other| *other != i);
        others.fold(last[i].0, |term, other| term * last[other].1 / (last[other].1 - last[i].1))
    });
    let guess = terms.sum::<f64>().exp();
    guess.is_finite().then_some(guess as usize)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// The culprit, and how many probes it took.
    fn search(count: usize, used: impl Fn(usize) -> f64) -> (usize, usize) {
        let probes = Cell::new(0);
        let culprit = first_too_complex(count, |count| {
            probes.set(probes.get() + 1);
            Some(used(count)).filter(|used| *used <= 1.0)
        });
        (culprit, probes.into_inner())
    }

    #[test]
    fn the_first_pattern_over_the_limit_is_found_however_use_grows() {
        for limit in [1, 2, 3, 7, 64, 259, 999] {
            let curves: [&dyn Fn(f64) -> f64; 5] = [
                &|x| x,
                &|x| x * x,
                &|x| x.powi(4),
                // Flat, and then a cliff.
                &|x| if x < 1.0 { 0.01 } else { 2.0 },
                &|x| (x * 20.0).exp() / 20_f64.exp(),
            ];
            for curve in curves {
                let used = |count: usize| curve(count as f64 / (limit as f64 + 0.5));
                assert_eq!(search(1000, used).0, limit, "{limit}");
            }
        }
        assert_eq!(search(1, |_| 2.0).0, 0);
        assert_eq!(search(1000, |_| 2.0).0, 0);
    }

    #[test]
    fn few_probes_are_near_the_limit_when_use_grows_evenly() {
        let near = Cell::new(0);
        let used = |count: usize| {
            let used = (count as f64 / 260.5).powf(2.3) + 0.01;
            near.set(near.get() + usize::from(used > 0.7));
            used
        };
        assert_eq!(search(1000, used).0, 259);
        assert!(near.get() <= 7, "{}", near.get());
    }
}
