//! Replays what a real pseudoterminal did (tests/tty/record.py).

use super::*;

const TRACES: &str = include_str!("../../../../../tests/tty/traces.txt");

struct Replay {
    ldisc: LineDiscipline,
    screen: Vec<u8>,
    signals: Vec<Signal>,
}

impl Replay {
    fn new() -> Self {
        Self { ldisc: LineDiscipline::new(Termios::default()), screen: Vec::new(), signals: Vec::new() }
    }

    /// Runs one recorded operation and returns the answer in the trace's form.
    fn step(&mut self, words: &[&str]) -> Option<String> {
        match words {
            ["termios", iflag, oflag, lflag, cc] => {
                let mut termios = *self.ldisc.termios();
                termios.iflag = iflag.parse().unwrap();
                termios.oflag = oflag.parse().unwrap();
                termios.lflag = lflag.parse().unwrap();
                termios.cc.copy_from_slice(&bytes(cc));
                self.ldisc.set_termios(termios);
                None
            }
            ["type", data] => {
                let mut echo = Vec::new();
                let outcome = self.ldisc.receive(&bytes(data), &mut echo);
                if outcome.flush_output {
                    self.screen.clear();
                }
                for signal in outcome.signals {
                    // A signal that is already pending is recorded once.
                    if !self.signals.contains(&signal) {
                        self.signals.push(signal);
                    }
                }
                self.screen.extend(echo);
                None
            }
            ["write", data] => {
                let out = self.ldisc.process_output(&bytes(data));
                self.screen.extend(out);
                None
            }
            ["read", count] => {
                let mut buf = vec![0; count.parse().unwrap()];
                Some(match self.ldisc.read(&mut buf) {
                    None => "EAGAIN".into(),
                    Some(0) => "empty".into(),
                    Some(count) => hex(&buf[..count]),
                })
            }
            ["fionread"] => Some(self.ldisc.readable().to_string()),
            ["screen"] => {
                let out = std::mem::take(&mut self.screen);
                Some(if out.is_empty() { "empty".into() } else { hex(&out) })
            }
            ["signals"] => {
                // The recorder saw pending signals in order of their numbers.
                self.signals.sort();
                let names: Vec<String> = self.signals.drain(..).map(|s| s.to_string()).collect();
                Some(if names.is_empty() { "none".into() } else { names.join(",") })
            }
            other => panic!("unknown operation {other:?}"),
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn does_what_a_real_terminal_did() {
    let mut replay = Replay::new();
    let mut history: Vec<&str> = Vec::new();
    let mut failures = Vec::new();
    let mut answers = 0;
    for (number, line) in TRACES.lines().enumerate() {
        if line == "new" {
            replay = Replay::new();
            history.clear();
            continue;
        }
        history.push(line);
        let (operation, expected) = match line.split_once(" -> ") {
            Some((operation, expected)) => (operation, Some(expected.to_string())),
            None => (line, None),
        };
        let words: Vec<&str> = operation.split(' ').collect();
        let answer = replay.step(&words);
        answers += usize::from(answer.is_some());
        if answer != expected && failures.len() < 12 {
            let recent = history[history.len().saturating_sub(6)..].join("\n  ");
            failures.push(format!("line {}: got {answer:?}, recorded {expected:?} after\n  {recent}", number + 1));
        }
    }
    assert!(answers > 3000, "only {answers} answers were compared");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
