//! Who may read what: origins, tokens, tenants, and paths with tricks in them.

use block_proto::frame::{ClientFrame, ErrorCode, ServerFrame};
use block_proto::key::{self, Prefix};
use block_proto::{Hash, SUBPROTOCOL, TagRecord};
use stream_tests::raw::{self, End, Socket, http};
use stream_tests::sample::tenant;
use stream_tests::world::{GOOD_ORIGIN, SECRET, World, token, token_of};

use super::cases;

cases! { access:
    OneOrigin {
        shared other_origins_are_refused_at_the_upgrade,
    }
    Usual {
        shared tokens_open_what_they_name,
        shared forged_and_expired_tokens_open_nothing,
        shared what_may_not_be_read_looks_absent,
        shared a_session_ends_with_its_token,
        shared private_objects_are_private_over_http,
        shared objects_and_tags_over_http,
        shared batches_over_http,
        shared paths_with_tricks_lead_nowhere,
    }
}

const WINDOW: u32 = 4 << 20;
const OTHER_SECRET: &str = "another secret that nobody here knows of";

async fn other_origins_are_refused_at_the_upgrade(world: &mut World) {
    let url = world.socket_url(&Prefix::public());
    for origin in ["https://evil.example", "http://good.example", "https://good.example.evil.example", "null"] {
        let refused = raw::connect(&url, SUBPROTOCOL, Some(origin)).await.err();
        assert_eq!(refused, Some(403), "{origin}");
    }
    let (mut socket, _) = raw::connect(&url, SUBPROTOCOL, Some(GOOD_ORIGIN)).await.expect("is allowed");
    socket.hello(raw::hello(world.sample.small.manifest, WINDOW, "")).await;
    socket.close().await;
    let path = format!("/v1/o/{}", world.sample.small.chunks[&0]);
    let allowed = http(&world.address(), "GET", &path, &format!("Origin: {GOOD_ORIGIN}\r\n"), b"").await;
    assert_eq!(allowed.headers["access-control-allow-origin"], GOOD_ORIGIN);
    let evil = http(&world.address(), "GET", &path, "Origin: https://evil.example\r\n", b"").await;
    let said = evil.headers.get("access-control-allow-origin").map(String::as_str);
    assert!(!matches!(said, Some("*" | "https://evil.example")), "{said:?}");
}

async fn open_private(world: &World, place: &Prefix, token: &str) -> Result<Socket, End> {
    let mut socket = Socket::connect_to(world, place).await;
    socket.send(&ClientFrame::Hello(raw::hello(world.sample.private.manifest, WINDOW, token))).await;
    match socket.receive().await {
        ServerFrame::Welcome(_) => Ok(socket),
        ServerFrame::Error { request: 0, code, .. } => {
            let close = socket.end().await.close;
            Err(End { error: Some(code), close })
        }
        other => panic!("unexpected {other:?}"),
    }
}

async fn tokens_open_what_they_name(world: &mut World) {
    let private = &world.sample.private;
    let (chunk, hash) = private.chunks.iter().next().expect("has chunks");
    let at = u64::from(*chunk) << 17;
    for place in [Prefix::public(), tenant()] {
        for token in [token(600, None), token(600, Some(private.manifest))] {
            let mut socket = open_private(world, &place, &token).await.expect("is permitted");
            let [Ok((stored, _))] = &socket.fetch(1, &[*hash]).await[..] else { panic!("no block") };
            let object = block_proto::envelope::open(stored, hash, 1 << 20).expect("opens");
            assert_eq!(object, private.expected(at, 1 << 17));
            // A session that reads the tenant's does not read the public part, unless its token says so.
            let public = world.sample.small.chunks[&3];
            assert_eq!(socket.fetch(2, &[public]).await[0].as_ref().err(), Some(&ErrorCode::NotFound));
            socket.close().await;
        }
    }
}

fn unauthorized() -> End {
    End { error: Some(ErrorCode::Unauthorized), close: Some(4401) }
}

async fn forged_and_expired_tokens_open_nothing(world: &mut World) {
    let good = token(600, None);
    let mut forged = vec![
        "x".to_owned(),
        "AAAA".to_owned(),
        "a.b.c".to_owned(),
        "=".repeat(80),
        "A".repeat(1024),
        format!("{good}A"),
        good[..good.len() - 1].to_owned(),
        good[..20].to_owned(),
        token_of(OTHER_SECRET, &tenant(), 600, None, None),
        // A minute of grace for clocks is over.
        token(-90, None),
        token(-1_000_000, None),
    ];
    // One letter changed, here and there: end, tenant, seal.
    for at in (0..good.len()).step_by(7) {
        let other = if &good[at..=at] == "A" { "B" } else { "A" };
        forged.push(format!("{}{other}{}", &good[..at], &good[at + 1..]));
    }
    for bad in &forged {
        for place in [tenant(), Prefix::public()] {
            let end = open_private(world, &place, bad).await.err();
            assert_eq!(end, Some(unauthorized()), "{bad} at {place}");
        }
        let path = format!("/{}?t={bad}", tenant().object(&world.sample.private.manifest));
        let reply = http(&world.address(), "GET", &path, "", b"").await;
        assert_eq!(reply.status, 401, "{bad}");
        let header = format!("Authorization: Bearer {bad}\r\n");
        let path = format!("/{}", tenant().tag("private", "latest"));
        assert_eq!(http(&world.address(), "GET", &path, &header, b"").await.status, 401, "{bad}");
    }
    assert_eq!(open_private(world, &tenant(), "").await.err(), Some(unauthorized()));
    // A page's own token, from another page.
    let bound = token_of(SECRET, &tenant(), 600, None, Some(GOOD_ORIGIN));
    assert_eq!(open_private(world, &tenant(), &bound).await.err(), Some(unauthorized()));
}

async fn what_may_not_be_read_looks_absent(world: &mut World) {
    let private = world.sample.private.manifest;
    let not_found = Some(End { error: Some(ErrorCode::NotFound), close: Some(4404) });
    // Known, but not of the public part; of another tenant; another image than the token's.
    assert_eq!(open_private(world, &Prefix::public(), "").await.err(), not_found);
    let stranger = Prefix::tenant("stranger").expect("a name");
    let strange = token_of(SECRET, &stranger, 600, None, None);
    assert_eq!(open_private(world, &tenant(), &strange).await.err(), not_found);
    assert_eq!(open_private(world, &stranger, &strange).await.err(), not_found);
    assert_eq!(open_private(world, &stranger, &token(600, None)).await.err(), not_found);
    let other_image = token(600, Some(world.sample.small.manifest));
    assert_eq!(open_private(world, &tenant(), &other_image).await.err(), not_found);
    // The same words for what is there and for what is nowhere.
    let mut socket = Socket::open(world, WINDOW).await;
    let mut texts = Vec::new();
    for (request, hash) in [(1, *world.sample.private.chunks.values().next().expect("has")), (2, Hash::of(b"no"))] {
        socket.get(request, 0, &[hash]).await;
        match socket.receive().await {
            ServerFrame::Error { code: ErrorCode::NotFound, text, retry_after, .. } => {
                texts.push((text, retry_after));
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(texts[0], texts[1]);
    socket.close().await;
    let mut replies = Vec::new();
    for hash in [private, Hash::of(b"nowhere")] {
        let reply = http(&world.address(), "GET", &format!("/v1/o/{hash}"), "", b"").await;
        replies.push((reply.status, reply.body, reply.headers.get("cache-control").cloned()));
    }
    assert_eq!(replies[0], replies[1]);
    assert_eq!(replies[0].0, 404);
    let path = |prefix: &Prefix, hash| format!("/{}?t={strange}", prefix.object(&hash));
    let foreign = http(&world.address(), "GET", &path(&tenant(), private), "", b"").await;
    let absent = http(&world.address(), "GET", &path(&tenant(), Hash::of(b"nowhere")), "", b"").await;
    assert_eq!((foreign.status, foreign.body), (absent.status, absent.body));
}

async fn a_session_ends_with_its_token(world: &mut World) {
    // Of the minute of grace, two seconds are left.
    let socket = open_private(world, &tenant(), &token(-58, None)).await.expect("is permitted still");
    assert_eq!(socket.end().await, unauthorized());
}

async fn private_objects_are_private_over_http(world: &mut World) {
    let address = world.address();
    let good = token(600, None);
    let object = format!("/{}", tenant().object(world.sample.private.chunks.values().next().expect("has")));
    for (path, headers) in
        [(format!("{object}?t={good}"), String::new()), (object.clone(), format!("Authorization: Bearer {good}\r\n"))]
    {
        let reply = http(&address, "GET", &path, &headers, b"").await;
        assert_eq!(reply.status, 200);
        assert!(reply.headers["cache-control"].contains("private"), "{:?}", reply.headers);
        assert!(!reply.headers["cache-control"].contains("public"), "{:?}", reply.headers);
    }
    // What was just served to its owner is not there for anybody else.
    assert_eq!(http(&address, "GET", &object, "", b"").await.status, 401);
    let public = object.replacen("/p/acme", "", 1);
    assert_eq!(http(&address, "GET", &public, "", b"").await.status, 404);
    let tag = http(&address, "GET", &format!("/p/acme/v1/images/private/tags/latest?t={good}"), "", b"").await;
    assert_eq!(tag.status, 200);
    assert!(tag.headers["cache-control"].contains("private"), "{:?}", tag.headers);
}

async fn objects_and_tags_over_http(world: &mut World) {
    let address = world.address();
    let hash = world.sample.small.chunks[&2];
    let stored = world.stored(&key::object(&hash));
    let path = format!("/v1/o/{hash}");
    let get = async |headers: &str| http(&address, "GET", &path, headers, b"").await;
    let whole = get("Origin: https://any.example\r\n").await;
    assert_eq!((whole.status, &whole.body), (200, &stored));
    for (name, value) in [
        ("cache-control", "public, max-age=31536000, immutable, no-transform"),
        ("content-type", "application/vnd.vmdisk.object"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("access-control-allow-origin", "*"),
        ("timing-allow-origin", "*"),
    ] {
        assert_eq!(whole.headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!whole.headers.contains_key("content-encoding"));
    let etag = format!("\"{}\"", Hash::of(&stored));
    assert_eq!(whole.headers["etag"], etag);
    let by_key = http(&address, "GET", &format!("/{}", key::object(&hash)), "", b"").await;
    assert_eq!((by_key.status, by_key.body), (200, stored.clone()));
    let head = http(&address, "HEAD", &path, "", b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.headers["content-length"], stored.len().to_string());
    let part = get("Range: bytes=8-19\r\n").await;
    assert_eq!((part.status, &part.body[..]), (206, &stored[8..20]));
    assert_eq!(part.headers["content-range"], format!("bytes 8-19/{}", stored.len()));
    let tail = get("Range: bytes=-5\r\n").await;
    assert_eq!((tail.status, &tail.body[..]), (206, &stored[stored.len() - 5..]));
    let stale = get("Range: bytes=8-19\r\nIf-Range: \"other\"\r\n").await;
    assert_eq!((stale.status, stale.body.len()), (200, stored.len()));
    assert_eq!(get("Range: bytes=99999999-\r\n").await.status, 416);
    let same = get(&format!("If-None-Match: {etag}\r\n")).await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    for method in ["PUT", "DELETE", "PATCH"] {
        let refused = http(&address, method, &path, "", b"x").await.status;
        assert!(matches!(refused, 404 | 405 | 501), "{method}: {refused}");
    }
    assert_eq!(world.stored(&key::object(&hash)), stored);
    for path in ["/v1/images/small/tags/latest", "/t/small/latest.json"] {
        let reply = http(&address, "GET", path, "", b"").await;
        assert_eq!(reply.headers["cache-control"], "public, max-age=60", "{path}");
        let record = TagRecord::parse(&reply.body, "small", "latest").expect("a record");
        assert_eq!(record.manifest, world.sample.small.manifest);
    }
    assert_eq!(http(&address, "GET", "/v1/images/small/tags/other", "", b"").await.status, 404);
    assert_eq!(http(&address, "GET", "/healthz", "", b"").await.status, 200);
}

async fn batches_over_http(world: &mut World) {
    let address = world.address();
    let mut hashes: Vec<Hash> = world.sample.small.chunks.values().copied().take(9).collect();
    hashes.push(Hash::of(b"absent"));
    let body: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
    let reply = http(&address, "POST", "/v1/batch", "", &body).await;
    assert_eq!(reply.status, 200);
    let mut rest = bytes::Bytes::from(reply.body);
    let mut answered = vec![false; hashes.len()];
    while !rest.is_empty() {
        let len = u32::from_le_bytes(rest.split_to(4)[..].try_into().expect("four bytes"));
        let message = rest.split_to(len as usize);
        match ServerFrame::parse(&message).expect("a frame") {
            ServerFrame::Block { request: 1, index, envelope, .. } => {
                let n = usize::from(index);
                block_proto::envelope::open(&envelope, &hashes[n], 1 << 20).expect("is what was asked for");
                assert!(!std::mem::replace(&mut answered[n], true));
            }
            ServerFrame::Error { request: 1, index: Some(9), code, .. } => {
                assert_eq!(code, ErrorCode::NotFound);
                assert!(!std::mem::replace(&mut answered[9], true));
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(answered.iter().all(|answered| *answered), "{answered:?}");
    for (len, status) in [(31, 400), (33, 400), (65 * 32, 413)] {
        let refused = http(&address, "POST", "/v1/batch", "", &vec![1; len]).await.status;
        assert!(refused == status || refused == 400, "{len} bytes: {refused}");
    }
    let empty = http(&address, "POST", "/v1/batch", "Content-Length: 0\r\n", b"").await.status;
    assert_eq!(empty, 400);
    assert!(matches!(http(&address, "GET", "/v1/batch", "", b"").await.status, 404 | 405));
}

async fn paths_with_tricks_lead_nowhere(world: &mut World) {
    let address = world.address();
    let hex = world.sample.small.chunks[&0].to_string();
    let private = world.sample.private.manifest;
    let (folder, private_folder) = (&hex[..2], &private.to_string()[..2]);
    let paths = [
        "/../secret.txt".to_owned(),
        "/..%2fsecret.txt".to_owned(),
        "/%2e%2e/secret.txt".to_owned(),
        "/%2e%2e%2fsecret.txt".to_owned(),
        "/%252e%252e%252fsecret.txt".to_owned(),
        "/..\\secret.txt".to_owned(),
        "//secret.txt".to_owned(),
        "/secret.txt".to_owned(),
        "/v1/o/../../secret.txt".to_owned(),
        "/v1/o/..%2f..%2fsecret.txt".to_owned(),
        "/o/../secret.txt".to_owned(),
        "/o/%2e%2e/%2e%2e%2fsecret.txt".to_owned(),
        "/t/..%2f../secret.txt.json".to_owned(),
        "/t/small/..%2f..%2f..%2fsecret.txt".to_owned(),
        "/v1/images/..%2f/tags/latest".to_owned(),
        "/v1/images/../tags/latest".to_owned(),
        "/v1/images/small/tags/..%2flatest".to_owned(),
        "/o".to_owned(),
        "/o/".to_owned(),
        format!("/o/{folder}"),
        format!("/o/{folder}/"),
        format!("/o/zz/{hex}"),
        format!("/o/{folder}/{hex}/"),
        format!("/o/{folder}/{hex}.json"),
        format!("/o/{folder}//{hex}"),
        format!("/o/{folder}/%{hex}"),
        format!("/v1/o/{}", hex.to_uppercase()),
        format!("/v1/o/{}", &hex[..63]),
        format!("/v1/o/{hex}0"),
        format!("/v1/o/{hex}%00"),
        "/%00".to_owned(),
        "/%".to_owned(),
        // Into a tenant's part by the public way.
        format!("/o/../p/acme/o/{private_folder}/{private}"),
        format!("/p/acme/../acme/o/{private_folder}/{private}"),
        format!("/o/..%2fp%2facme%2fo%2f{private_folder}%2f{private}"),
        format!("/p//o/{folder}/{hex}"),
        format!("/p/./o/{folder}/{hex}"),
        format!("/p/ACME/o/{private_folder}/{private}"),
        format!("/p/p/acme/o/{private_folder}/{private}"),
    ];
    for path in &paths {
        let reply = http(&address, "GET", path, "", b"").await;
        assert!((400..500).contains(&reply.status), "{path}: {}", reply.status);
        assert!(!reply.body.windows(6).any(|bytes| bytes == b"secret"), "{path}");
    }
}
