//! How long to wait before the next attempt to connect.

/// Quick enough that a restart of the server is hardly seen.
pub const FIRST_MS: u32 = 500;
/// Slow enough that a thousand open consoles do not hold a sick server down.
pub const MOST_MS: u32 = 15_000;

/// The wait before attempt number `attempt` (from 1). `random` is 0 to 1: half of the wait is fixed, half is jitter, so that clients
/// which were cut off together do not come back together.
pub fn delay_ms(attempt: u32, random: f64) -> u32 {
    let doublings = attempt.saturating_sub(1).min(10);
    let full = FIRST_MS.saturating_mul(1 << doublings).min(MOST_MS);
    let half = full / 2;
    half + (f64::from(half) * random.clamp(0.0, 1.0)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_a_bound() {
        assert_eq!(delay_ms(1, 1.0), FIRST_MS);
        assert_eq!(delay_ms(1, 0.0), FIRST_MS / 2);
        assert!(delay_ms(3, 0.0) > delay_ms(1, 1.0));
        for attempt in [20, 1_000, u32::MAX] {
            assert!(delay_ms(attempt, 1.0) <= MOST_MS);
            assert!(delay_ms(attempt, 0.0) >= MOST_MS / 2);
        }
    }
}
