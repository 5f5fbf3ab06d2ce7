//! How many connections to each VM's ports are open, and that they are not too many.

use crate::http::problem::{Answer, Refusal};
use axum::http::StatusCode;
use domain::VmId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// As many as the guest's agent holds; each has some hundred KiB in flight at most.
const MOST: usize = api::guest::MAX_CONNECTIONS;

/// Of all VMs that have some.
#[derive(Debug, Default)]
pub struct Seats(Mutex<HashMap<VmId, usize>>);

/// One connection's place, for as long as it lives.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    vm: VmId,
}

impl Seats {
    /// 429 when there are as many as may be.
    pub fn take(self: &Arc<Self>, vm: VmId) -> Answer<Seat> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = all.entry(vm).or_default();
        if *taken >= MOST {
            let detail = format!("{MOST} connections to this VM's ports are open already");
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too-many-connections", detail).hint("close one first"));
        }
        *taken += 1;
        Ok(Seat { seats: Arc::clone(self), vm })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut all = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = all.get_mut(&self.vm) {
            *taken -= 1;
            if *taken == 0 {
                all.remove(&self.vm);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_vm_has_its_own_and_they_come_back() {
        let seats = Arc::new(Seats::default());
        let [one, two] = [1, 2].map(VmId::from_bits);
        let mut held: Vec<Seat> = (0..MOST).map(|_| seats.take(one).unwrap()).collect();
        let refused = seats.take(one).unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.problem().code.as_str()), (429, "too-many-connections"));
        drop(seats.take(two).unwrap());
        held.pop();
        held.push(seats.take(one).unwrap());
        assert!(seats.take(one).is_err());
        drop(held);
        assert!(seats.0.lock().unwrap().is_empty(), "nothing is kept of who has none");
    }
}
