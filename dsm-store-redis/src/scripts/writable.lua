-- Does nothing, where writing is allowed: a replica, and a master without the replicas that it must
-- have, refuse it before it begins.
return true
