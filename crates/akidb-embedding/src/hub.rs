//! Fetching models into the [store](crate::model_store).

pub use akidb_models::{
    Event, Hub, HubOptions, Machine, PUBLIC_ENDPOINT, Pulled, Remote, Request, Store, Token,
};
