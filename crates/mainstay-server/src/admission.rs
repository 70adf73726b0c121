//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts connections over all shards. It is touched when a connection comes and when it goes, so
/// one lock serves.
#[derive(Debug)]
pub(crate) struct Admission {
    count: AtomicUsize,
    count_max: usize,
    per_address: Mutex<HashMap<Source, u32>>,
    per_address_max: usize,
}

/// Who counts as one: an IPv4 address, or the /64 that an IPv6 host can choose its address from.
pub(crate) type Source = [u8; 8];

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    /// Whom it counts against; nobody, before a proxy's request has said for whom it comes.
    source: Option<Source>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    InAll,
    FromThisAddress,
}

impl Admission {
    pub(crate) fn new(count_max: usize, per_address_max: usize) -> Arc<Admission> {
        Arc::new(Admission {
            count: AtomicUsize::new(0),
            count_max,
            per_address: Mutex::default(),
            per_address_max,
        })
    }

    /// A place that counts against an address, or against nobody yet.
    pub(crate) fn admit(self: &Arc<Self>, from: Option<IpAddr>) -> Result<Permit, Full> {
        {
            let _one_at_a_time = self.lock();
            if self.count.load(Ordering::Relaxed) >= self.count_max {
                return Err(Full::InAll);
            }
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        let mut permit = Permit { admission: self.clone(), source: None };
        if let Some(address) = from {
            permit.count_for(address)?;
        }
        Ok(permit)
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Source, u32>> {
        // A count is whole between any two instructions, so a poisoned lock guards nothing broken.
        self.per_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Counts it against an address, if it does not count against one already.
    pub(crate) fn count_for(&mut self, address: IpAddr) -> Result<(), Full> {
        if self.source.is_some() {
            return Ok(());
        }
        let source = source(address);
        let mut counts = self.admission.lock();
        let here = counts.get(&source).copied().unwrap_or(0);
        if here as usize >= self.admission.per_address_max {
            return Err(Full::FromThisAddress);
        }
        counts.insert(source, here + 1);
        self.source = Some(source);
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.admission.lock();
        self.admission.count.fetch_sub(1, Ordering::Relaxed);
        let Some(source) = self.source else { return };
        if let Some(here) = counts.get_mut(&source) {
            *here -= 1;
            if *here == 0 {
                counts.remove(&source);
            }
        }
    }
}

pub(crate) fn source(address: IpAddr) -> Source {
    let mut source = [0; 8];
    match address.to_canonical() {
        // The first 64 bits of an IPv4-mapped address, which no real /64 has.
        IpAddr::V4(v4) => {
            source[..4].copy_from_slice(&v4.octets());
            source[4..].copy_from_slice(&[0xff; 4]);
        }
        IpAddr::V6(v6) => source.copy_from_slice(&v6.octets()[..8]),
    }
    source
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn admit(admission: &Arc<Admission>, from: &str) -> Result<Permit, Full> {
        admission.admit(Some(address(from)))
    }

    #[test]
    fn places_are_limited_and_come_back() {
        let admission = Admission::new(3, 2);
        let first = admit(&admission, "10.0.0.1").expect("a place");
        let _second = admit(&admission, "::ffff:10.0.0.1").expect("a place");
        assert_eq!(admit(&admission, "10.0.0.1").map(drop), Err(Full::FromThisAddress));
        assert_eq!(admission.count(), 2, "who is refused takes no place");
        let _third = admit(&admission, "10.0.0.2").expect("a place");
        assert_eq!(admit(&admission, "10.0.0.3").map(drop), Err(Full::InAll));
        drop(first);
        assert_eq!(admission.count(), 2);
        assert!(admit(&admission, "10.0.0.1").is_ok());
    }

    #[test]
    fn a_place_counts_against_whom_it_was_first_said_to_be_for() {
        let admission = Admission::new(9, 1);
        let mut permit = admission.admit(None).expect("a place");
        permit.count_for(address("10.0.0.1")).expect("room");
        permit.count_for(address("10.0.0.1")).expect("it is counted");
        permit.count_for(address("10.0.0.2")).expect("it is counted");
        assert!(admit(&admission, "10.0.0.2").is_ok());
        assert_eq!(admit(&admission, "10.0.0.1").map(drop), Err(Full::FromThisAddress));
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let admission = Admission::new(9, 1);
        let _one = admit(&admission, "2001:db8:1:2::1").expect("a place");
        assert!(admit(&admission, "2001:db8:1:2:ffff::2").is_err());
        assert!(admit(&admission, "2001:db8:1:3::1").is_ok());
    }

    #[test]
    fn nothing_is_remembered_of_those_who_left() {
        let admission = Admission::new(9, 9);
        drop(admit(&admission, "10.0.0.1"));
        assert!(admission.lock().is_empty());
    }
}
