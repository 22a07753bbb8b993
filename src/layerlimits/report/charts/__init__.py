"""The charts of the report: functions from results to figures. Without data, they return nothing."""
