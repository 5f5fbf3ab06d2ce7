//! What the agent must know of the machine below it: how the host is reached, and how it is switched off. PID 1 reads it from the kernel
//! command line, and it goes on to the keeper and the agent as words of their own: an image may mount another `/proc` by then.

/// The virtio-serial port's name on the host's side.
pub const PORT: &str = "agent.0";

const OVER_PORT: [&str; 2] = ["--port", PORT];
const OVER_VSOCK: [&str; 1] = ["--vsock"];
const BY_RESTART: &str = "--poweroff-by-restart";

/// How the host is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// QEMU: the virtio-serial port [`PORT`].
    Port,
    /// Firecracker: a listener on `api::guest::VSOCK_PORT`.
    Vsock,
}

/// What ends a machine that is to be powered off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerOff {
    /// The power-off itself.
    Itself,
    /// A restart, which is all that the VMM ends at (Firecracker has nothing to switch off, and the processor would stand still for ever).
    /// What it means is said on the console before: `api::guest::POWER_OFF_LINE`.
    ByRestart,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    pub channel: Channel,
    pub power_off: PowerOff,
}

impl Machine {
    /// As arguments of the program.
    pub fn words(self) -> Vec<&'static str> {
        let mut words = match self.channel {
            Channel::Port => OVER_PORT.to_vec(),
            Channel::Vsock => OVER_VSOCK.to_vec(),
        };
        if self.power_off == PowerOff::ByRestart {
            words.push(BY_RESTART);
        }
        words
    }

    /// The inverse of [`Self::words`]; `None` for other words.
    pub fn from_words(words: &[&str]) -> Option<Self> {
        let (words, power_off) = match words.split_last() {
            Some((&BY_RESTART, words)) => (words, PowerOff::ByRestart),
            _ => (words, PowerOff::Itself),
        };
        let channel = match words {
            words if words == OVER_PORT => Channel::Port,
            words if words == OVER_VSOCK => Channel::Vsock,
            _ => return None,
        };
        Some(Self { channel, power_off })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pid_1_read_reaches_the_agent() {
        for channel in [Channel::Port, Channel::Vsock] {
            for power_off in [PowerOff::Itself, PowerOff::ByRestart] {
                let machine = Machine { channel, power_off };
                assert_eq!(Machine::from_words(&machine.words()), Some(machine));
            }
        }
        for others in [&[][..], &["--port"], &["--port", "other"], &[BY_RESTART], &["--vsock", "--port", PORT], &["--vsock", "x"]]
        {
            assert_eq!(Machine::from_words(others), None, "{others:?}");
        }
    }
}
