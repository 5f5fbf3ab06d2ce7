//! The guest's clock and its random generator, which a pause or a restore leaves behind the world.
use crate::kmsg;
use api::guest::{ErrorCode, GuestError, MAX_ENTROPY};
use nix::{
    errno::Errno,
    sys::time::TimeSpec,
    time::{ClockId, clock_settime},
};
use std::{fs::File, os::fd::AsRawFd};

/// Mixes bytes in and credits them (linux/random.h).
const RNDADDENTROPY: libc::c_ulong = 0x4008_5203;
/// Makes the kernel's generator use them now instead of within the next minutes.
const RNDRESEEDCRNG: libc::c_ulong = 0x5207;

/// `struct rand_pool_info` with room for the most that we take.
#[repr(C)]
struct Pool {
    entropy_bits: libc::c_int,
    size: libc::c_int,
    bytes: [u8; MAX_ENTROPY],
}

pub fn set(epoch_ns: u64) -> Result<(), GuestError> {
    let seconds = i64::try_from(epoch_ns / 1_000_000_000).unwrap_or(i64::MAX);
    let time = TimeSpec::new(seconds, (epoch_ns % 1_000_000_000) as i64);
    clock_settime(ClockId::CLOCK_REALTIME, time).map_err(|error| refused("the clock can't be set", error))
}

pub fn add_entropy(bytes: &[u8]) -> Result<(), GuestError> {
    if bytes.is_empty() || bytes.len() > MAX_ENTROPY {
        return Err(GuestError::new(ErrorCode::InvalidRequest, format!("entropy takes 1 to {MAX_ENTROPY} bytes")));
    }
    let device = File::open("/dev/urandom").map_err(|error| GuestError::new(ErrorCode::Failed, error.to_string()))?;
    let mut pool = Pool { entropy_bits: bytes.len() as i32 * 8, size: bytes.len() as i32, bytes: [0; MAX_ENTROPY] };
    pool.bytes[..bytes.len()].copy_from_slice(bytes);
    #[allow(unsafe_code)]
    // SAFETY: the pool says its own size, and the kernel reads no further; the second call takes no argument.
    let (added, reseeded) = unsafe {
        (
            libc::ioctl(device.as_raw_fd(), RNDADDENTROPY as _, &pool),
            Errno::result(libc::ioctl(device.as_raw_fd(), RNDRESEEDCRNG as _)),
        )
    };
    Errno::result(added).map_err(|error| refused("entropy can't be added", error))?;
    if let Err(error) = reseeded {
        return Err(refused("the random generator can't be reseeded", error));
    }
    kmsg::log("the random generator was reseeded by the host");
    Ok(())
}

fn refused(what: &str, error: Errno) -> GuestError {
    let code = if matches!(error, Errno::EPERM | Errno::EACCES) { ErrorCode::PermissionDenied } else { ErrorCode::Failed };
    GuestError::new(code, format!("{what}: {}", error.desc()))
}
