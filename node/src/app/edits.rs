//! Edits of the present configuration: one resource, type or pool at a time. What comes out is
//! checked by the same code as a file, and by every server, before it is proposed; an edit that was
//! computed from an older configuration is refused (R12).

mod addition;

use tasuki_config::{ConfigErrors, Kind};
use tasuki_core::{
    config::{
        ClusterConfig,
        pool::{FREE, GENERIC},
        type_tree::TypeTree,
    },
    ids::{PoolName, ResourceName, TypeName},
    registry::{Key, State},
};

pub use self::addition::{NewAttribute, NewObject};
use super::{
    App, AppError, Caller, Role,
    config::{Push, problem},
    pools::no_such_pool,
    resources::{ResourceError, no_such_resource},
    types::{no_such_type, tree_of},
};

impl App {
    /// Adds a resource outside every group.
    ///
    /// # Errors
    /// Not allowed, mistakes, a server's refusal, no quorum.
    pub async fn resource_add(
        &self,
        by: &Caller,
        new: NewObject,
        type_name: &str,
        dry_run: bool,
    ) -> Result<Push, AppError> {
        by.must_be(Role::Admin)?;
        let add = new.addition(Kind::Resource, &[("type", type_name)], "")?;
        self.edit(by, dry_run, |_| Ok(()), |config| add.apply(config)).await
    }

    /// Changes attributes of a resource; those not named stay as they are.
    ///
    /// # Errors
    /// Not allowed, no such resource, mistakes, a server's refusal, no quorum.
    pub async fn resource_modify(
        &self,
        by: &Caller,
        name: &ResourceName,
        changes: Vec<(String, String)>,
        dry_run: bool,
    ) -> Result<Push, AppError> {
        self.edit(
            by,
            dry_run,
            |state| resource_is_there(state, name),
            |config| tasuki_config::edit_modify(config, Kind::Resource, name.as_str(), &changes),
        )
        .await
    }

    /// Takes a resource out of the configuration; what runs of it is stopped.
    ///
    /// # Errors
    /// Not allowed, no such resource, others need it, a server's refusal, no quorum.
    pub async fn resource_delete(
        &self,
        by: &Caller,
        name: &ResourceName,
        dry_run: bool,
    ) -> Result<Push, AppError> {
        self.edit(
            by,
            dry_run,
            |state| resource_is_there(state, name),
            |config| tasuki_config::edit_delete(config, Kind::Resource, name.as_str()),
        )
        .await
    }

    /// Lets a resource be started, or lets nothing start it.
    ///
    /// # Errors
    /// Not allowed, no such resource, no quorum.
    pub async fn resource_enable(
        &self,
        by: &Caller,
        name: &ResourceName,
        enabled: bool,
    ) -> Result<Push, AppError> {
        let changes = [("enabled".to_owned(), enabled.to_string())];
        let there = |state: &State| match state.definitions.contains_key(name) {
            true => Ok(()),
            // A member is enabled with its group.
            false => Err(no_such_resource(state, name).into()),
        };
        self.edit(by, false, there, |config| {
            tasuki_config::edit_modify(config, Kind::Resource, name.as_str(), &changes)
        })
        .await
    }

    /// Adds a resource type.
    ///
    /// # Errors
    /// Not allowed, mistakes, no quorum.
    pub async fn type_add(
        &self,
        by: &Caller,
        new: NewObject,
        base: &str,
        attributes: Vec<NewAttribute>,
        dry_run: bool,
    ) -> Result<Push, AppError> {
        let lines: String = attributes.iter().map(NewAttribute::line).collect();
        by.must_be(Role::Admin)?;
        let add = new.addition(Kind::Type, &[("base", base)], &lines)?;
        self.edit(by, dry_run, |_| Ok(()), |config| add.apply(config)).await
    }

    /// Takes a resource type out of the configuration.
    ///
    /// # Errors
    /// Not allowed, no such type, a built-in one, others need it, no quorum.
    pub async fn type_delete(&self, by: &Caller, name: &TypeName, dry_run: bool) -> Result<Push, AppError> {
        let there = |state: &State| {
            let tree: TypeTree = tree_of(state)?;
            match () {
                () if !tree.contains(name) => Err(no_such_type(&tree, name).into()),
                () if tree.is_built_in(name) => Err(ResourceError::BuiltIn(format!("type {name}")).into()),
                () => Ok(()),
            }
        };
        self.edit(by, dry_run, there, |config| tasuki_config::edit_delete(config, Kind::Type, name.as_str()))
            .await
    }

    /// Adds a server pool.
    ///
    /// # Errors
    /// Not allowed, mistakes, no quorum.
    pub async fn pool_add(&self, by: &Caller, new: NewObject, dry_run: bool) -> Result<Push, AppError> {
        by.must_be(Role::Admin)?;
        let add = new.addition(Kind::Pool, &[], "")?;
        self.edit(by, dry_run, |_| Ok(()), |config| add.apply(config)).await
    }

    /// Changes a server pool; what is not named stays as it is.
    ///
    /// # Errors
    /// Not allowed, no such pool, a built-in one, mistakes, no quorum.
    pub async fn pool_modify(
        &self,
        by: &Caller,
        name: &PoolName,
        changes: Vec<(String, String)>,
        dry_run: bool,
    ) -> Result<Push, AppError> {
        self.edit(
            by,
            dry_run,
            |state| pool_is_there(state, name),
            |config| tasuki_config::edit_modify(config, Kind::Pool, name.as_str(), &changes),
        )
        .await
    }

    /// Takes a server pool out of the configuration.
    ///
    /// # Errors
    /// Not allowed, no such pool, a built-in one, others need it, no quorum.
    pub async fn pool_delete(&self, by: &Caller, name: &PoolName, dry_run: bool) -> Result<Push, AppError> {
        self.edit(
            by,
            dry_run,
            |state| pool_is_there(state, name),
            |config| tasuki_config::edit_delete(config, Kind::Pool, name.as_str()),
        )
        .await
    }

    /// Edits the configuration as a quorum has it now.
    pub(super) async fn edit(
        &self,
        by: &Caller,
        dry_run: bool,
        may: impl FnOnce(&State) -> Result<(), AppError>,
        change: impl FnOnce(&ClusterConfig) -> Result<ClusterConfig, ConfigErrors>,
    ) -> Result<Push, AppError> {
        by.must_be(Role::Admin)?;
        let state = self.node.read().await?;
        let present = state
            .config()
            .ok_or_else(|| AppError::Failed("the registry has no configuration yet".to_owned()))?;
        may(&state)?;
        let config = change(&present)
            .map_err(|errors| AppError::Config(errors.problems().iter().map(problem).collect()))?;
        let read = vec![(Key::Configuration, state.revision_of(&Key::Configuration))];
        self.adopt(by, &state, config, Vec::new(), dry_run, read).await
    }
}

/// A resource of its own, or a member of a group.
fn resource_is_there(state: &State, name: &ResourceName) -> Result<(), AppError> {
    if state.definitions.contains_key(name) {
        return Ok(());
    }
    match no_such_resource(state, name) {
        ResourceError::MemberOf { .. } => Ok(()),
        missing => Err(missing.into()),
    }
}

fn pool_is_there(state: &State, name: &PoolName) -> Result<(), AppError> {
    match state.pools.contains_key(name) {
        true => Ok(()),
        false if [FREE, GENERIC].contains(&name.as_str()) => {
            Err(ResourceError::BuiltIn(format!("server pool {name}")).into())
        }
        false => Err(no_such_pool(state, name).into()),
    }
}
