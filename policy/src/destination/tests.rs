//! What is a destination, and what the advice is when something is not.

use super::*;

#[test]
fn every_form_of_a_destination_is_read() {
    let host = |name: &str| Destination::Host(name.into());
    let network = |text: &str| Destination::Network(text.parse().unwrap());
    for (text, destination, port) in [
        ("api.example.com", host("api.example.com"), None),
        ("API.Example.COM.", host("api.example.com"), None),
        ("api.example.com:8443", host("api.example.com"), Some(8443)),
        ("*.example.com", host("*.example.com"), None),
        ("*.example.com:443", host("*.example.com"), Some(443)),
        ("localhost", host("localhost"), None),
        ("my_service", host("my_service"), None),
        ("xn--bcher-kva.example", host("xn--bcher-kva.example"), None),
        ("*", Destination::Everything, None),
        ("*:53", Destination::Everything, Some(53)),
        ("192.0.2.7", network("192.0.2.7/32"), None),
        ("192.0.2.7:22", network("192.0.2.7/32"), Some(22)),
        ("10.0.0.0/8", network("10.0.0.0/8"), None),
        ("10.0.0.0/8:5432", network("10.0.0.0/8"), Some(5432)),
        ("2001:db8::7", network("2001:db8::7/128"), None),
        ("2001:db8::/32", network("2001:db8::/32"), None),
        ("[2001:db8::7]", network("2001:db8::7/128"), None),
        ("[2001:db8::7]:443", network("2001:db8::7/128"), Some(443)),
        ("[2001:db8::/32]:443", network("2001:db8::/32"), Some(443)),
        ("::/0", network("::/0"), None),
    ] {
        assert_eq!(with_port(text), Ok((destination, port)), "{text}");
    }
}

#[test]
fn what_is_no_destination_gets_advice() {
    for (text, code, at, help) in [
        ("https://api.example.com", code::URL_FOR_HOST, 0, "write `api.example.com:443`"),
        ("http://a.example/x", code::URL_FOR_HOST, 0, "write `a.example:80`"),
        ("https://u:p@a.example:8443/x?y", code::URL_FOR_HOST, 0, "write `a.example:8443`"),
        ("ftp://a.example", code::URL_FOR_HOST, 0, "write `a.example`"),
        ("https://", code::URL_FOR_HOST, 0, "write the host"),
        ("api.example.com/v1", code::URL_FOR_HOST, 15, "write `api.example.com`"),
        ("*.example.com/*", code::URL_FOR_HOST, 13, "write `*.example.com`"),
        ("api example.com", code::BAD_HOST, 3, "write `apiexample.com`"),
        (" api.example.com", code::BAD_HOST, 0, "write `api.example.com`"),
        ("", code::BAD_HOST, 0, "`api.example.com`"),
        ("bücher.example", code::BAD_HOST, 1, "punycode"),
        ("a..example", code::BAD_HOST, 2, "`api.example.com`"),
        (".example.com", code::BAD_HOST, 0, "`*.example.com`"),
        ("api?.example.com", code::BAD_HOST, 3, "only `*` is special"),
        ("[ab]", code::BAD_NETWORK, 1, "an address is"),
        ("[::1", code::BAD_HOST, 0, "close it"),
        ("[::1]443", code::BAD_HOST, 5, "`[2001:db8::1]:443`"),
        ("10.0.0.1/8", code::BAD_NETWORK, 0, "the network is `10.0.0.0/8`"),
        ("2001:db8::1/32", code::BAD_NETWORK, 0, "the network is `2001:db8::/32`"),
        ("10.0.0.0/33", code::BAD_NETWORK, 9, "as in `10.0.0.0/8`"),
        ("10.0.0.0/255.0.0.0", code::BAD_NETWORK, 9, "a netmask is not read"),
        ("10.0.0.0/", code::BAD_NETWORK, 9, "as in"),
        ("10.0.0.300", code::BAD_NETWORK, 0, "from 0 to 255"),
        ("10.0.0", code::BAD_NETWORK, 0, "four numbers"),
        ("fe80::1%eth0", code::BAD_NETWORK, 0, "leave out the zone"),
        ("a.example:0", code::BAD_PORT, 10, "from 1 to 65535"),
        ("a.example:65536", code::BAD_PORT, 10, "from 1 to 65535"),
        ("a.example:https", code::BAD_PORT, 10, "from 1 to 65535"),
        ("a.example:", code::BAD_PORT, 10, "every port is meant"),
    ] {
        let fault = with_port(text).unwrap_err();
        assert_eq!((fault.code, fault.at), (code, at), "{text}: {fault:?}");
        assert!(fault.help.contains(help), "{text}: {fault:?}");
    }
}
