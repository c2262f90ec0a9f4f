//! The page that Bun built, as part of the binary.

use include_dir::{Dir, include_dir};

static PAGE: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../ui/dist");

/// A file of the page and its media type.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    pub bytes: &'static [u8],
    pub media_type: &'static str,
    /// Its name holds a digest of its content, so it may be cached for ever.
    pub immutable: bool,
}

/// The file at a URL path; `/` is the page itself.
pub fn find(path: &str) -> Option<Asset> {
    let name = match path.trim_start_matches('/') {
        "" => "index.html",
        name => name,
    };
    let file = PAGE.get_file(name)?;
    Some(Asset { bytes: file.contents(), media_type: media_type(name), immutable: name != "index.html" })
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn the_page_names_files_that_are_there() {
        let page = std::str::from_utf8(find("/").expect("a built page").bytes).unwrap();
        let linked: Vec<&str> = page
            .split(['"', '\''])
            .filter(|part| part.ends_with(".js") || part.ends_with(".css"))
            .map(|part| part.trim_start_matches("./"))
            .collect();
        assert!(linked.len() >= 2, "a script and a style sheet in {page}");
        for name in linked {
            assert!(find(name).expect(name).immutable);
        }
    }

    #[test]
    fn nothing_outside_the_page_is_found() {
        assert!(find("/../package.json").is_none());
        assert!(find("/nothing.js").is_none());
    }
}
