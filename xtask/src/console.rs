//! What a virtual machine left behind: its verdict, and what its kernel complained of.

/// A complaint of a kernel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// The line that says so.
    pub(crate) line: String,
}

/// How bad a complaint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The kernel went on: a `WARN_ON`.
    Warning,
    /// The kernel stopped, or something in it did.
    Crash,
}

/// Reads what stands on the port for the verdict: one line, with our nonce, and nothing else.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub(crate) fn verdict(text: &str, nonce: &str) -> Result<u8, String> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let Some(line) = lines.next() else {
        return Err("it ended without a verdict".into());
    };
    if let Some(second) = lines.next() {
        return Err(format!("something else stands beside the verdict: {second:?}"));
    }
    let words: Vec<_> = line.split(' ').collect();
    match words[..] {
        ["ringfence-vm", stated, "exit", code] if stated == nonce => {
            code.parse().map_err(|_| format!("the verdict has no exit code: {line:?}"))
        }
        _ => Err(format!("that is not the verdict of this boot: {line:?}")),
    }
}

/// The worst complaint in the messages of a kernel; of several, the first.
pub(crate) fn complaint(console: &str) -> Option<Complaint> {
    let complaints = || console.lines().filter_map(complaint_of_line);
    complaints().find(|found| found.severity == Severity::Crash).or_else(|| complaints().next())
}

fn complaint_of_line(line: &str) -> Option<Complaint> {
    let message = without_time(line).trim();
    let severity = if is_crash(message) {
        Severity::Crash
    } else if message.starts_with("WARNING: ") {
        Severity::Warning
    } else {
        return None;
    };
    Some(Complaint { severity, line: message.to_owned() })
}

fn is_crash(message: &str) -> bool {
    // Only where the kernel itself puts them: "clocksource: timekeeping watchdog" and
    // "Spectre V2 : WARNING" are ordinary messages of a boot in an emulator.
    let starts = [
        "Kernel panic",
        "BUG:",
        "kernel BUG at",
        "Oops",
        "general protection fault",
        "Internal error",
        "watchdog: BUG",
        "watchdog: Watchdog detected",
        "KASAN:",
        "UBSAN:",
        "unregister_netdevice: waiting for",
    ];
    if starts.iter().any(|start| message.starts_with(start)) {
        return true;
    }
    let stall = message.starts_with("rcu:") && message.contains("stall");
    let hung = message.starts_with("INFO: task") && message.contains("blocked for more than");
    let stalled_before_6 = message.starts_with("INFO: rcu") && message.contains("stall");
    stall || hung || stalled_before_6
}

/// A line of the kernel's log without its `[   12.345678] `.
fn without_time(line: &str) -> &str {
    let line = line.trim_start();
    match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((time, message)) if time.trim().parse::<f64>().is_ok() => message,
        _ => line,
    }
}

/// What a report shows of a kernel's messages, indented: `count` lines from its first complaint
/// on, or the last ones when it did not complain.
pub(crate) fn excerpt(console: &str, count: usize) -> String {
    let lines: Vec<_> = console.lines().collect();
    let end = lines.len().saturating_sub(count);
    let from = lines.iter().position(|line| complaint_of_line(line).is_some()).unwrap_or(end);
    lines[from..].iter().take(count).map(|line| format!("    {}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_line_with_the_right_nonce_is_a_verdict() {
        for (text, expected) in [
            ("ringfence-vm abc exit 0\n", Ok(0)),
            ("ringfence-vm abc exit 0\r\n", Ok(0)),
            ("\nringfence-vm abc exit 137\n", Ok(137)),
            ("", Err("without a verdict")),
            ("\n\n", Err("without a verdict")),
            ("ringfence-vm abc exit", Err("not the verdict")),
            ("ringfence-vm abc exit 0 1\n", Err("not the verdict")),
            ("ringfence-vm abcd exit 0\n", Err("not the verdict")),
            ("ringfence-vm  exit 0\n", Err("not the verdict")),
            ("xringfence-vm abc exit 0\n", Err("not the verdict")),
            ("ringfence-vm abc exit 256\n", Err("no exit code")),
            ("ringfence-vm abc exit -1\n", Err("no exit code")),
            ("ringfence-vm abc exit 0\nringfence-vm abc exit 0\n", Err("beside the verdict")),
            ("noise\nringfence-vm abc exit 0\n", Err("beside the verdict")),
        ] {
            match (verdict(text, "abc"), expected) {
                (Ok(code), Ok(wanted)) => assert_eq!(code, wanted, "{text:?}"),
                (Err(said), Err(wanted)) => assert!(said.contains(wanted), "{text:?}: {said}"),
                (got, _) => panic!("{text:?}: {got:?}"),
            }
        }
    }

    #[test]
    fn a_kernels_complaints_are_told_from_its_chatter() {
        use Severity::{Crash, Warning};
        for (console, expected) in [
            ("", None),
            ("[    0.1] Linux version 6.12", None),
            ("[    2.1] clocksource: timekeeping watchdog on CPU0: hpet read-back delay", None),
            ("[    0.1] Spectre V2 : WARNING: Unprivileged eBPF is enabled", None),
            ("[    0.1] NMI watchdog: Perf NMI watchdog permanently disabled", None),
            ("[    0.1] rcu: Hierarchical RCU implementation.", None),
            ("[    9.1] a program says BUG: or WARNING: here", None),
            ("[    9.1] WARNING: CPU: 0 PID: 9 at kernel/bpf/x.c:9 f+0x1/0x2", Some(Warning)),
            ("WARNING: kernel/bpf/x.c:9 at f+0x1/0x2, CPU#1: a/9", Some(Warning)),
            ("[    9.1] BUG: kernel NULL pointer dereference, address: 0", Some(Crash)),
            ("[    9.1] kernel BUG at mm/slub.c:9!", Some(Crash)),
            ("[    9.1] Oops: 0000 [#1] PREEMPT SMP", Some(Crash)),
            ("[    9.1] Oops: general protection fault, 0000 [#1]", Some(Crash)),
            ("[    9.1] general protection fault, probably for", Some(Crash)),
            ("[    9.1] Kernel panic - not syncing: Attempted to kill init!", Some(Crash)),
            ("[   99.1] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!", Some(Crash)),
            ("[   99.1] rcu: INFO: rcu_preempt detected stalls on CPUs", Some(Crash)),
            ("[   99.1] rcu: INFO: rcu_preempt self-detected stall on CPU", Some(Crash)),
            ("[   99.1] INFO: task x:9 blocked for more than 120 seconds.", Some(Crash)),
            ("[    1.0] WARNING: CPU: 0\n[    2.0] Oops: 0\n", Some(Crash)),
        ] {
            assert_eq!(complaint(console).map(|found| found.severity), expected, "{console}");
        }
        let first = complaint("[ 1.0] WARNING: CPU: 1 PID\n[ 2.0] WARNING: CPU: 2 PID\n");
        assert_eq!(first.unwrap().line, "WARNING: CPU: 1 PID");
    }

    #[test]
    fn an_excerpt_starts_at_the_first_complaint_or_is_the_end() {
        for (console, expected) in [
            ("", ""),
            ("a\nb\r\nc\n", "    b\n    c\n"),
            ("a\n[ 1.0] BUG: x\nb\nc\n", "    [ 1.0] BUG: x\n    b\n"),
        ] {
            assert_eq!(excerpt(console, 2), expected, "{console:?}");
        }
    }
}
