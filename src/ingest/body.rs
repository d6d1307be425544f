//! Request bodies as they come over the wire: compressed or not, never larger than allowed.

use std::borrow::Cow;

use async_compression::tokio::bufread::{
    BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder,
};
use tokio::io::{AsyncRead, AsyncReadExt as _};

#[derive(Debug, thiserror::Error)]
pub enum BodyEncodingError {
    #[error("the content encoding `{0}` is not one of gzip, deflate, br, zstd, identity")]
    Unsupported(String),
    #[error("the body is not valid {encoding} data")]
    Corrupt {
        encoding: String,
        #[source]
        source: std::io::Error,
    },
    /// Found while unpacking: not a byte more than allowed is ever unpacked.
    #[error("the body unpacks to more than {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
}

/// Unpacks a body by its `Content-Encoding`; at most `bytes_max` bytes come out.
///
/// # Errors
/// [`BodyEncodingError`]; several encodings on top of each other are not supported, since no browser sends
/// them and each level multiplies what a small body can unpack to.
pub async fn decompress<'a>(
    body: &'a [u8],
    encoding: Option<&str>,
    bytes_max: usize,
) -> Result<Cow<'a, [u8]>, BodyEncodingError> {
    let encoding = encoding.unwrap_or("identity").trim().to_ascii_lowercase();
    let unpacked = match encoding.as_str() {
        "" | "identity" => {
            if body.len() > bytes_max {
                return Err(BodyEncodingError::TooLarge { bytes_max });
            }
            return Ok(Cow::Borrowed(body));
        }
        "gzip" | "x-gzip" => read(GzipDecoder::new(body), bytes_max).await,
        // HTTP says that `deflate` means zlib's format; some clients send the bare stream all the same.
        "deflate" => match read(ZlibDecoder::new(body), bytes_max).await {
            Err(Unpacking::Corrupt(_)) => read(DeflateDecoder::new(body), bytes_max).await,
            other => other,
        },
        "br" => read(BrotliDecoder::new(body), bytes_max).await,
        "zstd" => read(ZstdDecoder::new(body), bytes_max).await,
        _ => {
            return Err(BodyEncodingError::Unsupported(
                encoding.chars().take(32).collect(),
            ));
        }
    };
    match unpacked {
        Ok(bytes) => Ok(Cow::Owned(bytes)),
        Err(Unpacking::TooLarge) => Err(BodyEncodingError::TooLarge { bytes_max }),
        Err(Unpacking::Corrupt(source)) => Err(BodyEncodingError::Corrupt { encoding, source }),
    }
}

enum Unpacking {
    TooLarge,
    Corrupt(std::io::Error),
}

async fn read(decoder: impl AsyncRead + Unpin, bytes_max: usize) -> Result<Vec<u8>, Unpacking> {
    let mut bytes = Vec::new();
    let mut limited = decoder.take(bytes_max as u64 + 1);
    limited
        .read_to_end(&mut bytes)
        .await
        .map_err(Unpacking::Corrupt)?;
    if bytes.len() > bytes_max {
        Err(Unpacking::TooLarge)
    } else {
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use async_compression::tokio::write::{
        BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder,
    };
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    macro_rules! pack {
        ($encoder:ident, $text:expr) => {{
            let mut encoder = $encoder::new(Vec::new());
            encoder.write_all($text).await.unwrap();
            encoder.shutdown().await.unwrap();
            encoder.into_inner()
        }};
    }

    #[tokio::test]
    async fn every_encoding_unpacks_to_the_same_text() {
        let text = b"{\"event_type\":\"click\"}".repeat(20);
        for (encoding, packed) in [
            (None, text.clone()),
            (Some("identity"), text.clone()),
            (Some("gzip"), pack!(GzipEncoder, &text)),
            (Some("deflate"), pack!(ZlibEncoder, &text)),
            (Some("deflate"), pack!(DeflateEncoder, &text)),
            (Some("BR"), pack!(BrotliEncoder, &text)),
            (Some("zstd"), pack!(ZstdEncoder, &text)),
        ] {
            assert_eq!(
                decompress(&packed, encoding, 10_000).await.unwrap(),
                text,
                "{encoding:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_bomb_stops_at_the_limit() {
        let zeros = vec![0; 50_000_000];
        for (encoding, packed) in [
            ("gzip", pack!(GzipEncoder, &zeros)),
            ("br", pack!(BrotliEncoder, &zeros)),
            ("zstd", pack!(ZstdEncoder, &zeros)),
            ("deflate", pack!(ZlibEncoder, &zeros)),
        ] {
            let result = decompress(&packed, Some(encoding), 1_000_000).await;
            assert!(
                matches!(result, Err(BodyEncodingError::TooLarge { .. })),
                "{encoding}"
            );
        }
    }

    #[tokio::test]
    async fn torn_and_unknown_encodings_are_named() {
        let packed = pack!(GzipEncoder, b"hello, hello, hello");
        let torn = decompress(&packed[..packed.len() - 6], Some("gzip"), 1000).await;
        assert!(matches!(torn, Err(BodyEncodingError::Corrupt { .. })));
        let unknown = decompress(b"x", Some("gzip, br"), 1000).await;
        assert!(matches!(unknown, Err(BodyEncodingError::Unsupported(_))));
    }
}
