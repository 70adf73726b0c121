//! Static files beside the endpoint.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::{TestServer, exchange, read_head, wait_until};

/// A folder with a page in it and a secret beside it.
struct Site {
    outside: PathBuf,
}

impl Site {
    fn new(name: &str) -> Site {
        let outside = std::env::temp_dir().join(format!("mainstay-{name}-{}", std::process::id()));
        let inside = outside.join("www");
        fs::create_dir_all(inside.join("sub")).expect("a folder");
        fs::write(outside.join("secret.txt"), "the secret").expect("a file");
        fs::write(inside.join("index.html"), "<h1>home</h1>").expect("a file");
        fs::write(inside.join("sub/index.html"), "below").expect("a file");
        fs::write(inside.join("script.js"), "0123456789").expect("a file");
        fs::write(inside.join(".hidden"), "the secret").expect("a file");
        std::os::unix::fs::symlink(outside.join("secret.txt"), inside.join("link"))
            .expect("a link");
        std::os::unix::fs::symlink("../secret.txt", inside.join("relative")).expect("a link");
        std::os::unix::fs::symlink(&outside, inside.join("folder")).expect("a link");
        std::os::unix::fs::symlink("script.js", inside.join("within.js")).expect("a link");
        Site { outside }
    }

    fn serve(&self) -> TestServer {
        TestServer::configured(|config| config.www = self.outside.join("www"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.outside);
    }
}

fn get(server: &TestServer, target: &str, headers: &str) -> String {
    exchange(server, &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"))
}

#[test]
fn files_are_served_with_their_types_validators_and_ranges() {
    let site = Site::new("files");
    let server = site.serve();
    let home = get(&server, "/", "");
    assert!(home.starts_with("HTTP/1.1 200 ") && home.ends_with("<h1>home</h1>"), "{home}");
    assert!(home.contains("content-type: text/html"), "{home}");
    assert!(home.contains("x-content-type-options: nosniff"), "{home}");
    assert!(get(&server, "/sub/", "").ends_with("below"));
    assert!(get(&server, "/within.js", "").ends_with("0123456789"), "a link that stays inside");

    let script = get(&server, "/script.js", "");
    assert!(script.contains("content-type: text/javascript"), "{script}");
    let part = get(&server, "/script.js", "Range: bytes=2-4\r\n");
    assert!(part.starts_with("HTTP/1.1 206 ") && part.ends_with("\r\n\r\n234"), "{part}");
    for (answer_header, condition) in
        [("etag: ", "If-None-Match"), ("last-modified: ", "If-Modified-Since")]
    {
        let value = script.split(answer_header).nth(1).and_then(|rest| rest.lines().next());
        let value = value.unwrap_or_else(|| panic!("{answer_header} in {script}"));
        let again = get(&server, "/script.js", &format!("{condition}: {value}\r\n"));
        assert!(again.starts_with("HTTP/1.1 304 "), "{again}");
    }
    let head = exchange(&server, "HEAD /script.js HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.contains("content-length: 10") && head.ends_with("\r\n\r\n"), "{head}");
    let post = exchange(&server, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
}

#[test]
fn no_path_leads_out_of_the_folder() {
    let site = Site::new("paths");
    let server = site.serve();
    let ups =
        ["..", "%2e%2e", "%2E.", ".%2e", "%252e%252e", "..%00", "..;", "....", "%c0%ae%c0%ae"];
    let slashes = ["/", "%2f", "%5c", "\\", "//", "/./", "%252f", "/.//"];
    let prefixes = ["/", "//", "/sub/", "/sub%2f", "/folder/", "/C:", "/%00", "/./"];
    let mut targets: Vec<String> = vec![
        "/link".into(),
        "/relative".into(),
        "/folder/secret.txt".into(),
        "/folder/www/../secret.txt".into(),
        "/.hidden".into(),
        "/%2ehidden".into(),
        "/etc/passwd".into(),
        "//etc/passwd".into(),
        "/%2fetc%2fpasswd".into(),
        "/C:/secret.txt".into(),
        "/file:///etc/passwd".into(),
    ];
    for prefix in prefixes {
        for up in ups {
            for slash in slashes {
                targets.push(format!("{prefix}{up}{slash}secret.txt"));
                targets.push(format!("{prefix}{up}{slash}{up}{slash}etc{slash}passwd"));
            }
        }
    }
    assert!(targets.len() >= 500);
    for target in targets {
        let answer = get(&server, &target, "");
        assert!(
            answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 30"),
            "{target}: {answer}"
        );
        assert!(!answer.contains("the secret") && !answer.contains("root:"), "{target}: {answer}");
    }
}

#[test]
fn folders_are_not_listed() {
    let site = Site::new("listing");
    fs::create_dir(site.outside.join("www/empty")).expect("a folder");
    let server = site.serve();
    let answer = get(&server, "/empty/", "");
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[test]
fn a_missing_folder_is_stood_in_for_by_a_page_that_helps() {
    let server = TestServer::configured(|config| config.path = "/a\"b".to_owned());
    let home = get(&server, "/", "");
    assert!(home.starts_with("HTTP/1.1 200 ") && home.contains("--www"), "{home}");
    assert!(home.contains(r#"<body data-path="/a&quot;b">"#), "{home}");
    assert!(get(&server, "/other", "").starts_with("HTTP/1.1 404 "));
}

#[test]
fn a_slow_reader_gets_its_file_and_one_that_stopped_is_dropped() {
    let site = Site::new("slow");
    let length = 32 << 20;
    let file = fs::File::create(site.outside.join("www/large.bin")).expect("a file");
    file.set_len(length).expect("a sparse file");
    let server = TestServer::configured(|config| {
        config.www = site.outside.join("www");
        config.timing.write_stall_timeout = Duration::from_millis(300);
    });
    let request = b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n";
    let (mut slow, mut stopped) = (server.stream(), server.stream());
    slow.write_all(request).expect("written");
    stopped.write_all(request).expect("written");
    let head = read_head(&mut slow);
    assert!(head.contains(&format!("content-length: {length}")), "{head}");
    // Several times the stall timeout in all, and the client says nothing in it.
    let mut rest = length;
    let mut part = vec![0; 1 << 20];
    let began = Instant::now();
    while rest > 0 {
        let count = slow.read(&mut part).expect("the answer goes on");
        assert!(count > 0, "{rest} bytes are missing");
        rest -= count as u64;
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(began.elapsed() > Duration::from_millis(600), "the reader was not slow");
    wait_until("the stopped reader to be dropped", || server.server.connection_count() == 0);
}

#[test]
fn one_request_is_all_that_a_plain_connection_gets() {
    let site = Site::new("single");
    let server = site.serve();
    let two = "GET /script.js HTTP/1.1\r\nHost: a\r\n\r\nGET /sub/ HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = exchange(&server, two);
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    let ambiguous =
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(exchange(&server, ambiguous).starts_with("HTTP/1.1 400 "));
}
