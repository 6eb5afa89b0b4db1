use proptest::prelude::*;

use super::*;

const UID: &str = "1b4e28ba-2fa1-11d2-883f-0016d3cca427";
const SYSTEMD: &str = "1b4e28ba_2fa1_11d2_883f_0016d3cca427";
const STATIC: &str = "0123456789abcdef0123456789abcdef";
const ID: &str = "f00dfeedf00dfeedf00dfeedf00dfeedf00dfeedf00dfeedf00dfeedf00dfeed";
const OTHER: &str = "beefbeefbeefbeefbeefbeefbeefbeefbeefbeefbeefbeefbeefbeefbeefbeef";

/// The path, with the words in capitals put in.
fn path(template: &str) -> String {
    let words =
        [("SYSTEMD", SYSTEMD), ("STATIC", STATIC), ("UID", UID), ("OTHER", OTHER), ("ID", ID)];
    words.iter().fold(template.to_owned(), |path, (word, value)| path.replace(word, value))
}

/// Uid, identifier, runtime and root of a path, as text.
fn read(template: &str) -> Option<(String, String, Option<Runtime>, String)> {
    let path = path(template);
    let place = Place::of(&path)?;
    assert_eq!(place.container.to_string(), ID, "{template}");
    let uid = place.pod.to_string();
    Some((uid, ID.to_owned(), place.runtime, place.root.to_owned()))
}

#[test]
fn each_driver_and_runtime_is_read() {
    use Runtime::{Containerd, Crio, Docker};
    let kind = "/system.slice/docker-OTHER.scope/kubelet.slice";
    let podman = "/machine.slice/libpod-OTHER.scope/container";
    let table = [
        // systemd, each class, each runtime
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podSYSTEMD.slice/cri-containerd-ID.scope",
            UID,
            Some(Containerd),
            "",
        ),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podSYSTEMD.slice/crio-ID.scope",
            UID,
            Some(Crio),
            "",
        ),
        ("/kubepods.slice/kubepods-podSYSTEMD.slice/docker-ID.scope", UID, Some(Docker), ""),
        // a static pod
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podSTATIC.slice/cri-containerd-ID.scope",
            STATIC,
            Some(Containerd),
            "",
        ),
        ("/kubepods/besteffort/podSTATIC/ID", STATIC, None, ""),
        // cgroupfs
        ("/kubepods/burstable/podUID/ID", UID, None, ""),
        ("/kubepods/podUID/ID", UID, None, ""),
        ("/kubepods/besteffort/podUID/crio-ID", UID, Some(Crio), ""),
        // below the container's own cgroup
        ("/kubepods.slice/kubepods-podSYSTEMD.slice/crio-ID.scope/container", UID, Some(Crio), ""),
        ("/kubepods/podUID/ID/init.scope", UID, None, ""),
        // --cgroup-root
        (
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podSYSTEMD.slice/cri-containerd-ID.scope",
            UID,
            Some(Containerd),
            "/kubelet.slice",
        ),
        (
            "/a.slice/a-b.slice/a-b-kubepods.slice/a-b-kubepods-burstable.slice/a-b-kubepods-burstable-podSYSTEMD.slice/crio-ID.scope",
            UID,
            Some(Crio),
            "/a.slice/a-b.slice",
        ),
        ("/kubelet/kubepods/burstable/podUID/ID", UID, None, "/kubelet"),
        ("/some/root_2/kubepods/podUID/ID", UID, None, "/some/root_2"),
        // a node that is a container
        (
            "/system.slice/docker-OTHER.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-podSYSTEMD.slice/cri-containerd-ID.scope",
            UID,
            Some(Containerd),
            kind,
        ),
        ("/docker/OTHER/kubelet/kubepods/besteffort/podUID/ID", UID, None, "/docker/OTHER/kubelet"),
        (
            "/docker/OTHER/kubepods.slice/kubepods-podSYSTEMD.slice/cri-containerd-ID.scope",
            UID,
            Some(Containerd),
            "/docker/OTHER",
        ),
        ("/machine.slice/libpod-OTHER.scope/container/kubepods/podUID/ID", UID, None, podman),
    ];
    for (template, uid, runtime, root) in table {
        let expected = (uid.to_owned(), ID.to_owned(), runtime, path(root));
        assert_eq!(read(template), Some(expected), "{template}");
    }
}

#[test]
fn what_is_no_container_of_a_pod_for_certain_is_none() {
    let table = [
        "",
        "/",
        "/init.scope",
        "/system.slice/containerd.service",
        "/system.slice/docker-ID.scope",
        "/machine.slice/libpod-ID.scope",
        "/machine.slice/libpod-conmon-ID.scope",
        "/ringfence/coder",
        // no container
        "/kubepods",
        "/kubepods/burstable",
        "/kubepods/burstable/podUID",
        "/kubepods.slice/kubepods-podSYSTEMD.slice",
        "/kubepods.slice/kubepods-podSYSTEMD.slice/crio-conmon-ID.scope",
        "/kubepods/podUID/crio-conmon-ID",
        "/kubepods.slice/kubepods-podSYSTEMD.slice/libpod-ID.scope",
        "/kubepods.slice/kubepods-podSYSTEMD.slice/ID.scope",
        "/kubepods.slice/kubepods-podSYSTEMD.slice/ID",
        "/kubepods/podUID/docker-ID.scope",
        // slices that do not stand where their names say
        "/kubepods-burstable.slice/kubepods-burstable-podSYSTEMD.slice/crio-ID.scope",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-besteffort-podSYSTEMD.slice/crio-ID.scope",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-podSYSTEMD.slice/crio-ID.scope",
        "/kubepods.slice/kubepods-burstable-podSYSTEMD.slice/crio-ID.scope",
        "/kubepods.slice/kubepods-guaranteed.slice/kubepods-guaranteed-podSYSTEMD.slice/crio-ID.scope",
        "/kubelet-kubepods.slice/kubelet-kubepods-podSYSTEMD.slice/crio-ID.scope",
        "/other.slice/kubelet-kubepods.slice/kubelet-kubepods-podSYSTEMD.slice/crio-ID.scope",
        "/kubelet.slice/kubepods.slice/kubepods-podSYSTEMD.slice/crio-ID.scope",
        "/-.slice/--kubepods.slice/--kubepods-podSYSTEMD.slice/crio-ID.scope",
        // a user's own cgroups
        "/user.slice/user-kubepods.slice/user-kubepods-podSYSTEMD.slice/crio-ID.scope",
        "/user.slice/user-1000.slice/user@1000.service/kubepods.slice/kubepods-podSYSTEMD.slice/crio-ID.scope",
        "/user.slice/user-1000.slice/user@1000.service/kubepods/podUID/ID",
        "/system.slice/agent.service/kubepods/podUID/ID",
        // other writings
        "kubepods/podUID/ID",
        "//kubepods/podUID/ID",
        "/kubepods//podUID/ID",
        "/kubepods/podUID/ID/",
        "/kubepods/podUID/ID/../OTHER",
        "/kubepods/podUID/ID (deleted)",
        "/kubepods/podUID/IDf",
        "/kubepods/podSYSTEMD/ID",
        "/kubepods.slice/kubepods-podUID.slice/crio-ID.scope",
        "/Kubepods/podUID/ID",
        "/my-kubepods/podUID/ID",
    ];
    for template in table {
        assert_eq!(Place::of(&path(template)), None, "{template}");
    }
    assert_eq!(Place::of(&path("/kubepods/podUID/ID").to_uppercase()), None);
    let upper = UID.to_uppercase();
    assert_eq!(Place::of(&format!("/kubepods/pod{upper}/{ID}")), None);
}

#[test]
fn a_container_cannot_make_itself_another_pods() {
    let nested = "/kubepods/podUID/ID/kubepods/podSTATIC/OTHER";
    assert_eq!(read(nested).unwrap().0, UID);
    // What looks like a root by itself does not count below a pod that cannot be read.
    assert_eq!(Place::of(&path("/kubepods/pod/ID/kubepods/podUID/ID")), None);
    assert_eq!(Place::of(&path("/kubepods.slice/x/kubepods/podUID/ID")), None);
}

#[test]
fn a_path_longer_than_the_kernels_is_none() {
    let long = path("/kubepods/podUID/ID/") + &"x".repeat(MAX_PATH);
    assert_eq!(Place::of(&long), None);
    assert!(Place::of(&long[..MAX_PATH]).is_some());
}

fn uids() -> impl Strategy<Value = PodUid> {
    let text = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}";
    text.prop_map(|text| text.parse().unwrap())
}

fn ids() -> impl Strategy<Value = ContainerId> {
    "[0-9a-f]{64}".prop_map(|text| text.parse().unwrap())
}

/// Paths that are almost right.
fn near() -> impl Strategy<Value = String> {
    let component = prop_oneof![
        prop::sample::select(vec![
            "kubepods",
            "kubepods.slice",
            "burstable",
            "kubelet.slice",
            "kubelet-kubepods.slice",
            "kubepods-burstable.slice",
            "kubepods-pod1b4e28ba_2fa1_11d2_883f_0016d3cca427.slice",
            "pod1b4e28ba-2fa1-11d2-883f-0016d3cca427",
            "crio-conmon-.scope",
            "docker",
            "system.slice",
        ])
        .prop_map(str::to_owned),
        Just(ID.to_owned()),
        Just(format!("crio-{ID}.scope")),
        Just(format!("docker-{ID}.scope")),
        ".{0,6}",
    ];
    prop::collection::vec(component, 0..8).prop_map(|parts| format!("/{}", parts.join("/")))
}

proptest! {
    #[test]
    fn any_text_is_read_or_is_none(text in ".*", near in near()) {
        for text in [text, near] {
            if let Some(place) = Place::of(&text) {
                prop_assert!(text.starts_with(place.root));
                prop_assert!(text.contains(&place.container.to_string()));
            }
        }
    }

    #[test]
    fn a_path_that_is_printed_is_read_again(
        pod in uids(),
        container in ids(),
        class in prop::sample::select(vec!["", "burstable", "besteffort"]),
        runtime in prop::sample::select(Runtime::ALL.to_vec()),
        is_rooted in any::<bool>(),
        below in prop::sample::select(vec!["", "/init.scope", "/a/b"]),
    ) {
        let escaped = pod.to_string().replace('-', "_");
        let (root, start) = if is_rooted { ("/kubelet.slice", "kubelet-") } else { ("", "") };
        let prefix = runtime.prefix();
        let slices = match class {
            "" => format!("{root}/{start}kubepods.slice/{start}kubepods-pod{escaped}.slice"),
            class => format!(
                "{root}/{start}kubepods.slice/{start}kubepods-{class}.slice/\
                 {start}kubepods-{class}-pod{escaped}.slice"
            ),
        };
        let path = format!("{slices}/{prefix}{container}.scope{below}");
        let expected = Place { pod, container, runtime: Some(runtime), root };
        prop_assert_eq!(Place::of(&path), Some(expected));

        let root = if is_rooted { "/kubelet" } else { "" };
        let class = if class.is_empty() { String::new() } else { format!("/{class}") };
        let path = format!("{root}/kubepods{class}/pod{pod}/{container}{below}");
        prop_assert_eq!(Place::of(&path), Some(Place { pod, container, runtime: None, root }));
        let path = format!("{root}/kubepods{class}/pod{pod}/crio-{container}{below}");
        let runtime = Some(Runtime::Crio);
        prop_assert_eq!(Place::of(&path), Some(Place { pod, container, runtime, root }));
    }
}
