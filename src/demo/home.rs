//! Where PostgreSQL and Redis of the demo keep their files, and as whom they run.
//!
//! For an ordinary user that is the folder `data` in the state folder. PostgreSQL refuses to run as root, and the
//! user it runs as instead cannot enter root's or anybody's home; so for root the files lie under
//! [`SHARED_FOLDER`], and `data` is a link to them.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest, Sha256};
use tokio::process::Command;

/// Where root's demos keep their data, a folder for each.
const SHARED_FOLDER: &str = "/var/lib/customer-journey-demo";

/// The folder below the root that is made first; its owner is whom the servers run as. The root itself stays with
/// whom the demo runs as, who writes logs there: the servers must not be able to lead those elsewhere.
const SERVERS_FOLDER: &str = "redis";

/// Names the state folder that a folder under [`SHARED_FOLDER`] belongs to.
const OWNER_FILE: &str = "state-folder";

/// Users without rights that a root's servers run as; the first one that exists.
const ACCOUNTS: [&str; 2] = ["postgres", "nobody"];

/// Bytes of the longest socket path (source: unix(7), `sun_path`, without its final NUL).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The longest file name that is put into the folder of sockets.
const LONGEST_SOCKET_NAME: &str = ".s.PGSQL.5432.lock";

/// A user of the system.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// The place of both servers.
#[derive(Clone, Debug)]
pub(super) struct Home {
    root: PathBuf,
    sockets: PathBuf,
    /// Whom to become, when that is somebody else.
    account: Option<Account>,
}

impl Home {
    /// Finds the data of a state folder, or makes room for it.
    ///
    /// # Errors
    /// When nothing can be written there, or it belongs to somebody else.
    pub(super) fn open(state: &Path) -> Result<Self> {
        let uid = rustix::process::geteuid().as_raw();
        let link = state.join("data");
        let root = match link.canonicalize() {
            Ok(root) => root,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A link whose target is gone.
                let _ = fs::remove_file(&link);
                make_root(&link, uid)?
            }
            Err(error) => {
                return Err(error).with_context(|| {
                    format!(
                        "{} cannot be entered: was the demo started by root before? Start it as root again",
                        link.display()
                    )
                });
            }
        };
        let owner = owner_of(&root.join(SERVERS_FOLDER))?;
        let account = match (uid, owner.uid) {
            (0, 0) => bail!(
                "{} belongs to root, and PostgreSQL refuses to run as root: remove it to start over",
                root.display()
            ),
            (0, _) => Some(owner),
            (uid, owner) if uid == owner => None,
            _ => bail!(
                "{} belongs to another user: start the demo as that user, or remove the folder to start over",
                root.display()
            ),
        };
        if uid == 0 && link.is_symlink() {
            note_owner(&root, state)?;
        }
        let sockets = make_sockets(&root, account.as_ref())?;
        Ok(Self {
            root,
            sockets,
            account,
        })
    }

    /// Returns where a state folder's data lies, if there is any.
    pub(super) fn find(state: &Path) -> Option<PathBuf> {
        state.join("data").canonicalize().ok()
    }

    /// Deletes the data of a state folder.
    ///
    /// # Errors
    /// When something of it cannot be deleted.
    pub(super) fn remove(state: &Path) -> Result<()> {
        let link = state.join("data");
        let Some(root) = Self::find(state) else {
            let _ = fs::remove_file(&link);
            return Ok(());
        };
        let sockets = sockets_beside(&root);
        fs::remove_dir_all(&root)
            .and_then(|()| {
                if link.is_symlink() {
                    fs::remove_file(&link)
                } else {
                    Ok(())
                }
            })
            .with_context(|| format!("{} cannot be deleted", root.display()))?;
        let _ = fs::remove_dir_all(sockets);
        Ok(())
    }

    /// The folder that holds everything of both servers.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the sockets; only the servers' user (and root) can enter it.
    pub(super) fn sockets(&self) -> &Path {
        &self.sockets
    }

    /// Makes a folder of the servers' user below the root, if it is not there yet.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn make_folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.root.join(name);
        make_private(&folder, self.account.as_ref())
            .with_context(|| format!("{} cannot be made", folder.display()))?;
        Ok(folder)
    }

    /// Prepares a program that runs as the servers' user, without the environment of this process: `PGOPTIONS`
    /// and the like must not reach a server that belongs to the demo.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.root)
            .env("LC_ALL", "C")
            .current_dir(&self.root)
            .stdin(std::process::Stdio::null());
        if let Some(account) = &self.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }
}

fn make_root(link: &Path, uid: u32) -> Result<PathBuf> {
    if uid != 0 {
        make_private(link, None)
            .and_then(|()| make_private(&link.join(SERVERS_FOLDER), None))
            .with_context(|| format!("{} cannot be made", link.display()))?;
        return Ok(link.canonicalize()?);
    }
    let passwd = fs::read_to_string("/etc/passwd").context("/etc/passwd cannot be read")?;
    let Some(account) = find_account(&passwd) else {
        bail!(
            "PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody`: start the demo as an ordinary user"
        );
    };
    let root = make_shared(Path::new(SHARED_FOLDER), link, &account).with_context(|| {
        format!("no folder can be made under {SHARED_FOLDER}: start the demo as an ordinary user")
    })?;
    symlink(&root, link).with_context(|| format!("{} cannot be made", link.display()))?;
    Ok(root)
}

/// Makes the folder for the data that `link` will lead to.
///
/// Its name comes from the link's path, so that data whose state folder was deleted by hand is found and replaced
/// instead of lying around for ever. A folder that another state folder still leads to is left alone: that one
/// was moved here from the same path.
fn make_shared(shared: &Path, link: &Path, account: &Account) -> io::Result<PathBuf> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(shared)?;
    let digest = short_digest(link);
    let mut root = shared.join(&digest);
    let mut copies = 1;
    while is_in_use(&root) {
        copies += 1;
        root = shared.join(format!("{digest}-{copies}"));
    }
    match fs::remove_dir_all(&root) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::DirBuilder::new().mode(0o755).create(&root)?;
    make_private(&root.join(SERVERS_FOLDER), Some(account))?;
    Ok(root)
}

/// Whether the state folder that the data names still leads to it.
fn is_in_use(root: &Path) -> bool {
    fs::read_to_string(root.join(OWNER_FILE)).is_ok_and(|state| {
        Path::new(state.trim_end())
            .join("data")
            .canonicalize()
            .is_ok_and(|data| data == root)
    })
}

fn note_owner(root: &Path, state: &Path) -> Result<()> {
    let file = root.join(OWNER_FILE);
    fs::write(&file, format!("{}\n", state.display()))
        .with_context(|| format!("{} cannot be written", file.display()))
}

fn make_sockets(root: &Path, account: Option<&Account>) -> Result<PathBuf> {
    let sockets = sockets_beside(root);
    make_private(&sockets, account).with_context(|| format!("{} cannot be made", sockets.display()))?;
    // In /tmp, somebody else could have been there first.
    let found = fs::symlink_metadata(&sockets)?;
    let expected = account.map_or_else(|| rustix::process::geteuid().as_raw(), |account| account.uid);
    if !found.is_dir() || found.uid() != expected || found.permissions().mode() & 0o077 != 0 {
        bail!(
            "{} is not ours alone: remove it, or start the demo with a shorter --state-dir",
            sockets.display()
        );
    }
    Ok(sockets)
}

/// Returns where the sockets go: beside the data if the path is short enough for them.
fn sockets_beside(root: &Path) -> PathBuf {
    let near = root.join("run");
    let longest = near.join(LONGEST_SOCKET_NAME);
    if longest.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        near
    } else {
        Path::new("/tmp").join(format!("customer-journey-demo-{}", short_digest(root)))
    }
}

fn make_private(folder: &Path, account: Option<&Account>) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => account.map_or(Ok(()), |account| {
            chown(folder, Some(account.uid), Some(account.gid))
        }),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn owner_of(root: &Path) -> Result<Account> {
    let metadata = fs::metadata(root).with_context(|| format!("{} cannot be read", root.display()))?;
    Ok(Account {
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}

fn find_account(passwd: &str) -> Option<Account> {
    ACCOUNTS.iter().find_map(|name| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let found = fields.next() == Some(name);
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            (found && uid != 0).then_some(Account { uid, gid })
        })
    })
}

fn short_digest(path: &Path) -> String {
    hex::encode(&Sha256::digest(path.as_os_str().as_encoded_bytes())[..6])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody_else() -> Account {
        Account {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }

    #[test]
    fn postgres_comes_before_nobody_and_root_is_never_taken() {
        let passwd = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65533:n:/:/bin/false\n";
        let nobody = Account {
            uid: 65534,
            gid: 65533,
        };
        assert_eq!(find_account(passwd), Some(nobody));
        let postgres = format!("{passwd}broken line\npostgres:x:101:104:::/bin/bash\n");
        assert_eq!(find_account(&postgres), Some(Account { uid: 101, gid: 104 }));
        assert_eq!(find_account("postgres:x:0:0:::\n"), None);
    }

    #[test]
    fn sockets_stay_below_the_longest_path_there_is() {
        let short = Path::new("/srv/demo");
        assert_eq!(sockets_beside(short), short.join("run"));
        let deep = PathBuf::from(format!("/home/{}", "x".repeat(100)));
        let sockets = sockets_beside(&deep);
        assert!(sockets.join(LONGEST_SOCKET_NAME).as_os_str().len() <= SOCKET_PATH_BYTES_MAX);
        assert_ne!(sockets, sockets_beside(&deep.join("y")));
    }

    #[test]
    fn data_without_a_state_folder_is_replaced_and_data_of_a_moved_one_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (shared, state) = (folder.path().join("shared"), folder.path().join("state"));
        fs::create_dir(&state).unwrap();
        let link = state.join("data");
        let first = make_shared(&shared, &link, &nobody_else()).unwrap();
        fs::write(first.join("old"), "").unwrap();
        note_owner(&first, &state).unwrap();
        assert_eq!(make_shared(&shared, &link, &nobody_else()).unwrap(), first);
        assert!(!first.join("old").exists());

        let moved = folder.path().join("moved");
        fs::create_dir(&moved).unwrap();
        symlink(&first, moved.join("data")).unwrap();
        note_owner(&first, &moved).unwrap();
        let second = make_shared(&shared, &link, &nobody_else()).unwrap();
        assert_ne!(second, first);
        assert!(first.join(OWNER_FILE).exists());
    }

    #[test]
    fn a_folder_of_sockets_that_others_can_enter_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let sockets = sockets_beside(folder.path());
        fs::create_dir(&sockets).unwrap();
        fs::set_permissions(&sockets, fs::Permissions::from_mode(0o755)).unwrap();
        let error = make_sockets(folder.path(), None).unwrap_err().to_string();
        assert!(error.contains("not ours alone"), "{error}");
        fs::set_permissions(&sockets, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(make_sockets(folder.path(), None).unwrap(), sockets);
    }
}
