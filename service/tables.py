"""Every module that defines tables, so that alembic and the drift test see them all."""

from sqlalchemy import MetaData

import service.actions.models
import service.audit_log
import service.clock
import service.energy.models
import service.idempotency
import service.ledger.models
import service.migrate
import service.outbox
import service.participants.models
import service.partners.models
import service.planting.models
import service.rules.models
from service.database import Base

TABLE_MODULES = (
    service.actions.models,
    service.audit_log,
    service.clock,
    service.energy.models,
    service.idempotency,
    service.ledger.models,
    service.migrate,
    service.outbox,
    service.participants.models,
    service.partners.models,
    service.planting.models,
    service.rules.models,
)
metadata: MetaData = Base.metadata
