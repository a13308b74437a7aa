"""Every module that defines tables, so that alembic and the drift test see them all."""

from sqlalchemy import MetaData

import service.actions.models
import service.audit_log
import service.clock
import service.energy.models
import service.idempotency
import service.ledger.models
import service.outbox
import service.participants.models
import service.partners.models
import service.planting.models
import service.rules.models
from service.database import Base

metadata: MetaData = Base.metadata
