//! Patterns of host names, in which `*` stands for any characters.

/// The glob that matches the names of a pattern, written backwards.
pub(super) fn backward_glob(pattern: &str) -> String {
    let mut glob = String::new();
    for c in pattern.chars().rev() {
        // `**` may mean more than two stars.
        if c == '*' && glob.ends_with('*') {
            continue;
        }
        // To escape what is not special does no harm.
        if c.is_ascii_punctuation() && c != '*' {
            glob.push('\\');
        }
        glob.push(c);
    }
    glob
}

/// Whether a text may match both patterns. Adds to `work`, in units of a few comparisons.
pub(super) fn meet(one: &str, other: &str, work: &mut usize) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let differ = |(a, b): (&u8, &u8)| a != b && *a != b'*' && *b != b'*';
    // Most patterns differ in what stands before the first star, or after the last.
    let at_first = |pair: &(&u8, &u8)| *pair.0 == b'*' || *pair.1 == b'*' || differ(*pair);
    let head = one.iter().zip(other).find(at_first);
    let tail = one.iter().rev().zip(other.iter().rev()).find(at_first);
    if head.is_some_and(differ) || tail.is_some_and(differ) {
        return false;
    }
    *work += one.len() * other.len() / 16;
    // By place in `other`: whether what stands before both places may be the same text.
    let mut row = vec![false; other.len() + 1];
    row[0] = true;
    skip_stars(&mut row, other);
    for a in one {
        let mut next = vec![false; other.len() + 1];
        for (at, b) in other.iter().enumerate() {
            let is_star = *a == b'*';
            next[at] |= row[at] && (is_star || *b == b'*');
            next[at + 1] |= if is_star { row[at + 1] || next[at] } else { row[at] && a == b };
        }
        next[other.len()] |= row[other.len()] && *a == b'*';
        skip_stars(&mut next, other);
        row = next;
    }
    row[other.len()]
}

/// A star may stand for nothing.
fn skip_stars(row: &mut [bool], pattern: &[u8]) {
    for (at, _) in pattern.iter().enumerate().filter(|(_, byte)| **byte == b'*') {
        row[at + 1] |= row[at];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_meet_where_one_text_matches_both() {
        for (one, other, expected) in [
            ("a.com", "a.com", true),
            ("a.com", "b.com", false),
            ("a.com", "a.com.x", false),
            ("*", "", true),
            ("*", "*", true),
            ("*.com", "a.*", true),
            ("*.com", "com", false),
            ("*a*", "b*b", true),
            ("a*b", "a*c", false),
            ("a*x*b", "axb", true),
            ("a*x*b", "ayb", false),
            ("ab*", "a*c", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(meet(one, other, &mut 0), expected, "{one} {other}");
            assert_eq!(meet(other, one, &mut 0), expected, "{other} {one}");
        }
    }

    #[test]
    fn a_glob_is_backwards_and_special_only_in_its_stars() {
        assert_eq!(backward_glob("*.ab.com"), "moc\\.ba\\.*");
        assert_eq!(backward_glob("a**[x]?"), "\\?\\]x\\[*a");
    }

    proptest! {
        #[test]
        fn whatever_matches_both_patterns_makes_them_meet(
            one in "[ab*]{0,5}",
            other in "[ab*]{0,5}",
            texts in prop::collection::vec("[ab]{0,6}", 30),
        ) {
            let matches = |pattern, text: &str| crate::hosts::matches_pattern(pattern, text);
            let shared = texts.iter().find(|text| matches(&one, text) && matches(&other, text));
            prop_assert!(shared.is_none() || meet(&one, &other, &mut 0), "{shared:?}");
        }
    }
}
