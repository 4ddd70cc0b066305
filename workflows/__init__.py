"""From a campaign to records: planning, FireWorks, engines, the database and the command line."""
