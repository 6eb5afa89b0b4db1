//! Any path of a cgroup names a container or does not, and what it names stands in the path.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_agent::pods::Place;

fuzz_target!(|path: &str| {
    let Some(place) = Place::of(path) else { return };
    let below = path.strip_prefix(place.root).expect("the root begins the path");
    let container = place.container.to_string();
    let end = below.find(&container).expect("the container is named") + container.len();
    let pod = place.pod.to_string();
    let above = &below[..end];
    assert!(above.contains(&pod) || above.contains(&pod.replace('-', "_")));
    // Whatever is below is the same container.
    let deeper = format!("{path}/kubepods/pod{pod}/{}", "0".repeat(64));
    if deeper.len() <= 4096 {
        assert_eq!(Place::of(&deeper), Some(place));
    }
});
