"""Every module that defines tables: migrations, erasure and export must know them all."""

import service.actions.models
import service.energy.models
import service.http.idempotency
import service.instance.migrate
import service.ledger.models
import service.participants.models
import service.partners.models
import service.planting.models
import service.platform.acts
import service.platform.clock
import service.platform.database
import service.platform.outbox
import service.privacy.models
import service.rulebooks.models

metadata = service.platform.database.Base.metadata
