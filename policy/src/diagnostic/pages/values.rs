//! `RF02xx`: paths, destinations and amounts.

use super::Page;
use crate::diagnostic::code;

pub(super) const PAGES: &[Page] = &[
    Page::new(
        code::RELATIVE_PATH,
        "A path that is not absolute",
        "The kernel puts a file's path together from the file up to the root, whatever folder a \
         process is in and whoever its user is. A relative path, `~` or a drive letter therefore \
         matches nothing.\n\n\
         Write the path from the root on: `realpath` prints it. `~` is `/home/NAME`.",
    )
    .wrong("boundary: 1\nfiles:\n  - { path: ~/work/**, allow: [read] }\n")
    .right("boundary: 1\nfiles:\n  - { path: /home/agent/work/**, allow: [read] }\n"),
    Page::new(
        code::ABNORMAL_PATH,
        "A path that the kernel never yields",
        "Paths are judged once links, `.` and `..` are resolved: the kernel's own have no `//`, \
         `.` or `..`, and no slash at the end. A rule that has one matches nothing, and a deny rule \
         would protect nothing.\n\n\
         `/srv/work` is the folder itself, `/srv/work/**` all below it. A way through `..` needs no \
         rule: it is judged as the place where it ends.",
    )
    .wrong("boundary: 1\nfiles:\n  - { path: /srv/work/, allow: [read] }\n")
    .right("boundary: 1\nfiles:\n  - { path: /srv/work/**, allow: [read] }\n"),
    Page::new(
        code::BAD_GLOB,
        "A path pattern that cannot be read",
        "A `[` or `{` is never closed, a range runs backwards, a `\\` stands at the end, or `**` is \
         a part of a component only. What the pattern should match cannot be told.\n\n\
         `*` and `?` stay within a component of the path, `**` is a whole component and stands for \
         any number of them. Before a character that stands for itself write `\\`.",
    )
    .wrong("boundary: 1\nfiles:\n  - { path: \"/srv/work/[a\", allow: [read] }\n")
    .right("boundary: 1\nfiles:\n  - { path: \"/srv/work/[ab]*\", allow: [read] }\n"),
    Page::new(
        code::URL_FOR_HOST,
        "A destination that is a URL, or has a path",
        "The kernel sees addresses and ports. What is asked for over a connection is encrypted or \
         none of its business, so that a rule about one path of a server would be a promise that \
         nobody keeps.\n\n\
         Write the host alone, and the port of the scheme in `ports`: 443 for `https`, 80 for \
         `http`.",
    )
    .wrong("boundary: 1\negress:\n  - { host: \"https://api.example.com/v1\" }\n")
    .right("boundary: 1\negress:\n  - { host: api.example.com, ports: [443] }\n"),
    Page::new(
        code::BAD_HOST,
        "A destination that is no host name and no address",
        "The text can be no name: it holds a character that names do not have, two dots together, \
         or a port that belongs elsewhere; or it is an address where a name is asked for.\n\n\
         A name has letters, digits, `-`, `_` and dots, and `*` for any characters. Names in other \
         scripts are written in their ASCII form, `xn--…`. Addresses and networks go into `cidr`.",
    )
    .wrong("boundary: 1\negress:\n  - { host: \"api.example.com:443\" }\n")
    .right("boundary: 1\negress:\n  - { host: api.example.com, ports: [443] }\n"),
    Page::new(
        code::BAD_NETWORK,
        "A network that does not exist",
        "The address is none, has bits set beyond its prefix, or the prefix is longer than an \
         address. `10.1.2.3/8` may mean the network `10.0.0.0/8` or the one address `10.1.2.3/32`: \
         sixteen million addresses are between the two readings.\n\n\
         The finding shows how each is written. A netmask such as `/255.0.0.0` is not read.",
    )
    .wrong("boundary: 1\negress:\n  - { cidr: 10.1.2.3/8 }\n")
    .right("boundary: 1\negress:\n  - { cidr: 10.0.0.0/8 }\n"),
    Page::new(
        code::BAD_PORT,
        "A port or range of ports that does not exist",
        "Ports are whole numbers from 1 to 65535. A range is quoted text, `\"8000-8100\"`, the \
         smaller number first. An empty list would be a rule about no port at all.\n\n\
         Every port is meant when `ports` is left out.",
    )
    .wrong("boundary: 1\negress:\n  - { cidr: 192.0.2.0/24, ports: [70000] }\n")
    .right("boundary: 1\negress:\n  - { cidr: 192.0.2.0/24, ports: [443, \"8000-8100\"] }\n"),
    Page::new(
        code::BAD_AMOUNT,
        "A duration or an amount of bytes that cannot be read",
        "A duration is a whole number and a unit: `500ms`, `600s`, `10m`, `2h`. Without its unit, \
         ten could be seconds or hours. Bytes are a whole number, or one with `KiB`, `MiB`, `GiB` \
         or `TiB`, powers of 1024.\n\n\
         `MB` is not read: it means a million to some and 1048576 to others.",
    )
    .wrong("boundary: 1\nbudgets: { wall_clock: 10 }\n")
    .right("boundary: 1\nbudgets: { wall_clock: 10m }\n"),
    Page::new(
        code::BAD_PATH_MAP,
        "An entry of `path_map` that is no pair of folders",
        "`path_map` says by which path the kernel knows a folder that another document names \
         differently. Both sides are plain absolute folders: no pattern, no slash at the end, no \
         `..`. A folder that is mapped twice, or to itself, has no one meaning.\n\n\
         Give one entry for each folder. `*` and `**` belong into rules, not here.",
    )
    .wrong("boundary: 1\npath_map: { /vault/**: /var/lib/secure-ai/vault }\n")
    .right("boundary: 1\npath_map: { /vault: /var/lib/secure-ai/vault }\n"),
    Page::new(
        code::BAD_DIGEST,
        "A digest that is none",
        "`sha256` is the SHA-256 of a file's content: 64 hexadecimal digits, as `sha256sum` prints \
         them. `fsverity` is what `fsverity measure` prints: `sha256:` and 64 digits; it is not \
         the SHA-256 of the content.\n\n\
         The file is executed only while it has that content. A digest that was cut short would \
         be that of no file.",
    )
    .wrong("boundary: 1\nexec:\n  - { path: /usr/bin/git, allow: true, sha256: \"3d24\" }\n")
    .right(
        "boundary: 1\nexec:\n  - path: /usr/bin/git\n    allow: true\n    sha256: \
         \"3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95\"\n",
    ),
];
