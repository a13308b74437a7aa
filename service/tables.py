"""Every module that defines tables, so that alembic and the drift test see them all."""

from sqlalchemy import MetaData

import service.actions.models
import service.energy.models
import service.http.keys
import service.instance.migrate
import service.ledger.models
import service.participants.models
import service.partners.models
import service.planting.models
import service.platform.acts
import service.platform.clock
import service.platform.outbox
import service.privacy.models
import service.rulebooks.models
from service.platform.database import Base

TABLE_MODULES = (
    service.actions.models,
    service.platform.acts,
    service.platform.clock,
    service.energy.models,
    service.http.keys,
    service.ledger.models,
    service.instance.migrate,
    service.platform.outbox,
    service.participants.models,
    service.partners.models,
    service.planting.models,
    service.privacy.models,
    service.rulebooks.models,
)
metadata: MetaData = Base.metadata
