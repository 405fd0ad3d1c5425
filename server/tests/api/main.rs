//! The daemon's tests: through HTTP, with the real client, on the engine that the environment names.

mod people;
