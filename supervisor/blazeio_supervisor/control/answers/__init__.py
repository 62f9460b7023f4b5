"""What a service answers on its control socket: the schema of ``--json``.

HTTP/1.1 with JSON. Fields may be added within one ``SCHEMA``; a field that
changes its meaning or goes away makes a new number. Spans are seconds, sizes
octets, counts plain numbers; null is what is not known.

====== =========== ============== =========================================
method path        content        answer
====== =========== ============== =========================================
GET    /service                   ``ServiceAnswer``
GET    /status                    ``StatusAnswer``
GET    /config                    ``ConfigAnswer``
GET    /events     (query)        ``EventsAnswer``; with ``follow`` one
                   EventsQuery    ``EventRecord`` line for each, until the end
GET    /metrics                   text for Prometheus
POST   /reload     ReloadOrder    ``Progress`` lines while it waits, then one
                                  ``ReloadAnswer`` line
POST   /scale      ScaleOrder     ``ScaleAnswer``
POST   /recycle    RecycleOrder   ``RecycleAnswer``
POST   /park                      ``ParkAnswer``
POST   /resume                    ``ParkAnswer``
POST   /stack      StackOrder     ``StackAnswer``
GET    /upgrade                   ``UpgradeAnswer``, of the newest upgrade
POST   /upgrade    UpgradeOrder   ``UpgradeAnswer``, when it is rehearsed
POST   /reopen-logs               ``ReopenLogsAnswer``
POST   /stop       StopOrder      ``StopAnswer``, at once
====== =========== ============== =========================================

An order that cannot be carried out is answered by an ``ErrorAnswer``: 400, a
number is out of bounds; 403, of another user; 409, the service is stopping.
"""
