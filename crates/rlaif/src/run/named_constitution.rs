//! Constitutions by the name of one that is built in, or by their file.

use super::Error;
use constitution::Constitution;
use std::path::Path;

/// The constitution that a name or a path stands for: `general` and `world` (that of the embedded world) are built in, all
/// else is a TOML file. A file that is called so itself is meant by a path that says more, such as `./general`.
///
/// # Errors
/// If the file cannot be read or is not a constitution.
pub fn find_constitution(which: &Path) -> Result<Constitution, Error> {
    match built_in_constitution(which)? {
        Some(constitution) => Ok(constitution),
        None => Ok(Constitution::from_file(which)?),
    }
}

/// The constitution that is built in under a name; `None` if none is.
///
/// # Errors
/// Never with the files that are shipped.
pub fn built_in_constitution(name: &Path) -> Result<Option<Constitution>, Error> {
    Ok(match name.to_str() {
        Some("general") => Some(Constitution::general()),
        Some("world") => Some(model_organism::constitution()?),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_built_in_and_a_path_a_file() {
        assert_eq!(find_constitution(Path::new("general")).unwrap(), Constitution::general());
        let world = find_constitution(Path::new("world")).unwrap();
        assert_eq!(world, model_organism::constitution().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("general");
        std::fs::write(&path, world.to_toml().unwrap()).unwrap();
        assert_eq!(find_constitution(&path).unwrap(), world);
        assert_eq!(built_in_constitution(Path::new("./general")).unwrap(), None);
    }
}
