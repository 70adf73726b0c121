//! Static files from one folder, and nothing from outside it.

use std::convert::Infallible;
use std::fs::Metadata;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use http::header::{CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tower::{Service, ServiceExt, service_fn};
use tower_http::services::ServeDir;
use tower_http::services::fs::{Backend, File};

use crate::http::{Body, BoxError};

/// Serves the folder `www`, as a server does that was given nothing else; a built-in page where it
/// does not exist, which tries the WebSocket endpoint at `endpoint_path`. No path leads out of the
/// folder, and names that begin with a dot are not served.
pub fn static_files<B>(
    www: PathBuf,
    endpoint_path: &str,
) -> impl Service<Request<B>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
+ Clone
+ Send
+ Sync
+ 'static
where
    B: Send + 'static,
{
    let files = ServeDir::with_backend("", Folder { root: www.clone() });
    let welcome = Bytes::from(welcome_page(endpoint_path));
    service_fn(move |request: Request<B>| {
        let (files, www, welcome) = (files.clone(), www.clone(), welcome.clone());
        async move {
            let is_home = request.uri().path() == "/";
            let request = request.map(|_| Full::<Bytes>::default());
            let answer = files.oneshot(request).await;
            let mut answer = match answer {
                Ok(answer) => answer.map(|body| body.map_err(BoxError::from).boxed_unsync()),
                Err(never) => match never {},
            };
            if answer.status() == StatusCode::NOT_FOUND {
                let is_missing = is_home && tokio::fs::metadata(&www).await.is_err();
                answer = if is_missing {
                    page(StatusCode::OK, "text/html; charset=utf-8", welcome)
                } else {
                    let text = Bytes::from_static(b"There is no such file here.\n");
                    page(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", text)
                };
            }
            // RFC 9110 leaves types to us; a browser must not guess others.
            let nosniff = HeaderValue::from_static("nosniff");
            answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, nosniff);
            Ok(answer)
        }
    })
}

/// A folder that no path leads out of: neither `..` nor an encoding of it nor a symbolic link. Names
/// that begin with a dot are not served, `.well-known` (RFC 8615) apart.
#[derive(Clone, Debug)]
struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Blocks on the disk.
    fn open(root: &Path, path: &Path) -> io::Result<std::fs::File> {
        let mut inside = PathBuf::from(".");
        for component in path.components() {
            match component {
                Component::CurDir => {}
                Component::Normal(name) => {
                    let is_hidden = name.as_encoded_bytes().starts_with(b".");
                    if is_hidden && name != ".well-known" {
                        return Err(io::ErrorKind::NotFound.into());
                    }
                    inside.push(name);
                }
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(io::ErrorKind::NotFound.into());
                }
            }
        }
        // Opened anew for each file, so that the folder may be replaced while the server runs.
        let folder = Dir::open_ambient_dir(root, ambient_authority())?;
        // What is neither file nor folder (a named pipe, say) would block whoever opens it.
        let metadata = folder.metadata(&inside)?;
        if !metadata.is_file() && !metadata.is_dir() {
            return Err(io::ErrorKind::NotFound.into());
        }
        folder.open(&inside).map(cap_std::fs::File::into_std)
    }

    async fn open_off_thread(self, path: PathBuf) -> io::Result<std::fs::File> {
        let opened = tokio::task::spawn_blocking(move || Folder::open(&self.root, &path)).await;
        let not_found = |error: io::Error| match error.kind() {
            // So is a path that leads out of the folder; it is answered like one that leads nowhere.
            io::ErrorKind::PermissionDenied => io::ErrorKind::NotFound.into(),
            _ => error,
        };
        opened.map_err(io::Error::other)?.map_err(not_found)
    }
}

impl Backend for Folder {
    type File = OpenFile;
    type Metadata = Metadata;
    type OpenFuture = Pin<Box<dyn Future<Output = io::Result<OpenFile>> + Send>>;
    type MetadataFuture = Pin<Box<dyn Future<Output = io::Result<Metadata>> + Send>>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        let folder = self.clone();
        Box::pin(async move {
            let file = folder.open_off_thread(path).await?;
            Ok(OpenFile(tokio::fs::File::from_std(file)))
        })
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        let folder = self.clone();
        Box::pin(async move { folder.open_off_thread(path).await?.metadata() })
    }
}

/// A file that is being served.
struct OpenFile(tokio::fs::File);

impl File for OpenFile {
    type Metadata = Metadata;
    type MetadataFuture<'a> = Pin<Box<dyn Future<Output = io::Result<Metadata>> + Send + 'a>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        Box::pin(self.0.metadata())
    }
}

impl AsyncRead for OpenFile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncSeek for OpenFile {
    fn start_seek(mut self: Pin<&mut Self>, position: io::SeekFrom) -> io::Result<()> {
        Pin::new(&mut self.0).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.0).poll_complete(context)
    }
}

fn welcome_page(endpoint_path: &str) -> String {
    let escape = |text: &str, (character, entity): (char, &str)| text.replace(character, entity);
    let entities = [('&', "&amp;"), ('<', "&lt;"), ('"', "&quot;")];
    let path = entities.into_iter().fold(endpoint_path.to_owned(), |path, one| escape(&path, one));
    include_str!("welcome.html").replace("{{path}}", &path)
}

fn page(status: StatusCode, kind: &'static str, text: Bytes) -> Response<Body> {
    let body = Full::new(text).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
