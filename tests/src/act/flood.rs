//! Acts that ask for more names than a scope may.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, ToSocketAddrs as _},
    thread,
    time::{Duration, Instant},
};

use super::{
    Act, Trouble,
    names::{answer, greeting, in_words, word},
    parsed,
};
use crate::names::{
    dns::{A, Answer, Question},
    zone::filling,
};

type Arguments<'a> = &'a [Vec<u8>];
type Done = Result<String, Trouble>;

/// All of them.
pub(super) const ACTS: &[Act] = &[("ask-many", ask_many), ("flood", flood)];

/// How long all may take, and how long the next minute of the resolver is waited for.
const LONGEST: Duration = Duration::from_secs(600);

/// The name with this number, with as many addresses.
fn name(number: u16, addresses: &str) -> String {
    format!("fill{number}-{addresses}.example.net")
}

/// Asks for the addresses of a name, and gives the code of the answer.
fn code(a: Arguments, name: &str, id: u16) -> Result<String, Trouble> {
    let question = Question::new(id, name, A);
    let (bytes, _) = answer(a, &question)?;
    let answer = Answer::read(&bytes);
    answer
        .map(|answer| answer.code_name())
        .ok_or_else(|| Trouble::Other("the answer cannot be read".to_owned()))
}

/// Asks for so many names of so many addresses each: way, server, count, addresses. Says how many
/// answers had which code.
fn ask_many(a: Arguments) -> Done {
    be_patient();
    let (count, addresses) = (parsed(a, 2)?, word(a, 3)?);
    let mut codes = BTreeMap::<String, u16>::new();
    for number in 0..count {
        *codes.entry(code(a, &name(number, &addresses), number)?).or_default() += 1;
    }
    let codes: Vec<String> = codes.iter().map(|(code, count)| format!("{count} {code}")).collect();
    Ok(codes.join(", "))
}

/// Asks for so many names of one address each: way, server, count. Says whether all were answered,
/// or what comes of connecting to the address of the first that was, and of the last that was not.
/// Then asks for another name until it is answered.
fn flood(a: Arguments) -> Done {
    be_patient();
    let (mut first, mut last) = (None, None);
    for number in 0..parsed(a, 2)? {
        match code(a, &name(number, "1"), number)?.as_str() {
            "noerror" => first = first.or(Some(number)),
            "refused" => last = Some(number),
            other => return Err(Trouble::Other(format!("name {number}: {other}"))),
        }
    }
    let Some(first) = first else { return Err(Trouble::Other("no name is answered".to_owned())) };
    let Some(last) = last else { return Ok("all".to_owned()) };
    let reached = |number| {
        let said = greeting(&SocketAddr::new(filling(number, 0), 8080)).map(|(_, said)| said);
        in_words(said.map(|_| "open".to_owned()))
    };
    let text = format!("answered: {}, refused: {}", reached(first), reached(last));
    let start = Instant::now();
    while start.elapsed() < LONGEST {
        if ("api.example.net", 8080).to_socket_addrs().is_ok() {
            return Ok(format!("{text}; another name: answered"));
        }
        thread::sleep(Duration::from_secs(1));
    }
    Ok(format!("{text}; another name: not answered"))
}

fn be_patient() {
    // SAFETY: no memory is involved.
    unsafe { libc::alarm(2 * LONGEST.as_secs() as u32) };
}
