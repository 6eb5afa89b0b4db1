//! "Did you mean": the nearest of a set of words.

/// The candidate that `word` was most likely meant to be, if one is near enough.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Bounded: the distance takes time in proportion to the product of the lengths.
    if word.len() > 64 {
        return None;
    }
    let folded = word.to_lowercase().replace('-', "_");
    let candidates: Vec<&str> = candidates.into_iter().collect();
    // A word that was cut short, or one that goes on: `offline` for `offline_only`.
    let begins_alike = |candidate: &&&str| {
        let shorter = folded.len().min(candidate.len());
        shorter >= 4 && (candidate.starts_with(&folded) || folded.starts_with(**candidate))
    };
    let mut alike = candidates.iter().filter(begins_alike);
    if let (Some(only), None) = (alike.next(), alike.next()) {
        return Some(only);
    }
    candidates
        .into_iter()
        .map(|candidate| {
            (strsim::damerau_levenshtein(&folded, &candidate.replace('-', "_")), candidate)
        })
        .filter(|(distance, candidate)| {
            *distance <= ((candidate.len().max(word.len()) + 1) / 4).max(1)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Words for a message: `` `a`, `b` and `c` ``.
pub(crate) fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => format!("`{word}`"),
        [start @ .., last] => {
            let start: Vec<String> = start.iter().map(|word| format!("`{word}`")).collect();
            format!("{} and `{last}`", start.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_the_word_that_was_meant_and_other_words_find_none() {
        let words = ["fs_violation", "egress_violation", "read", "write", "auto-block"];
        for (word, meant) in [
            ("fs_voilation", Some("fs_violation")),
            ("FS-Violation", Some("fs_violation")),
            ("raed", Some("read")),
            ("auto_block", Some("auto-block")),
            ("egress", Some("egress_violation")),
            ("reading", Some("read")),
            ("integrity_violation", None),
            ("xyzzy", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, words), meant, "{word}");
        }
        assert_eq!(nearest(&"a".repeat(1 << 20), words), None);
    }
}
