//! What a scope's policy says of names, ready to be asked: replaced as a whole when the policy is.

use std::{net::IpAddr, sync::Arc};

use ringfence_policy::{
    Place,
    grants::{Book, Grant},
};
use self_cell::self_cell;

use crate::policies::Policy;

self_cell! {
    /// The book of rules with the policy that it points into.
    struct Owned {
        owner: Arc<Policy>,
        #[covariant]
        dependent: Book,
    }
}

/// The rules of one policy.
pub(crate) struct Rules {
    owned: Owned,
    /// Where the lists stand in which a name may not be found.
    pub(super) defaults: Vec<Place>,
    /// Policies that the scope had before this one.
    pub(super) generation: u32,
}

impl Rules {
    pub(crate) fn new(policy: Arc<Policy>, generation: u32) -> Self {
        let listed = policy.tables.rules.iter().filter(|rule| rule.is_default);
        let defaults = listed.map(|rule| rule.place.clone()).collect();
        let owned = Owned::new(policy, |policy| Book::new(&policy.boundaries, &policy.tables));
        Self { owned, defaults, generation }
    }

    /// The policy.
    pub(super) fn policy(&self) -> &Policy {
        self.owned.borrow_owner()
    }

    /// The policy image.
    pub(super) fn image(&self) -> &[u8] {
        &self.policy().tables.image
    }

    /// What is open at an address that a name stands for; none for more than an entry holds.
    pub(super) fn grants(&self, name: &str, address: IpAddr) -> Vec<Grant> {
        self.owned.borrow_dependent().grants(name, address).unwrap_or_default()
    }
}
